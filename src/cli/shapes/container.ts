import { humanSize } from '../../base/bytes.ts';
import { shortId } from '../../base/digest.ts';
import type { ContainerSummary, PortSummary } from '../../spec/docker/container-view.ts';
import { ago, ellipsis, goTime, labelText, quoted } from '../display.ts';
import type { RowShape } from '../format.ts';

/** Rows of `ps`. */
export const CONTAINER_TABLE =
  '{{.ID}}\\t{{.Image}}\\t{{.Command}}\\t{{.RunningFor}}\\t{{.Status}}\\t{{.Ports}}\\t{{.Names}}';

/** `--format raw`. */
export const CONTAINER_RAW = [
  'container_id: {{.ID}}\\nimage: {{.Image}}\\ncommand: {{.Command}}\\ncreated_at: {{.CreatedAt}}',
  'state: {{- pad .State 1 0}}\\nstatus: {{- pad .Status 1 0}}\\nnames: {{.Names}}',
  'labels: {{- pad .Labels 1 0}}\\nports: {{- pad .Ports 1 0}}\\n',
].join('\\n');

const COMMAND_CHARS = 20;
const MOUNT_CHARS = 15;

export function containerShape(options: {
  readonly trunc: boolean;
  readonly nowMs: number;
}): RowShape<ContainerSummary> {
  const { trunc } = options;
  const cut = (value: string, max: number): string => (trunc ? ellipsis(value, max) : value);
  return {
    typeName: '*formatter.ContainerContext',
    fields: {
      Command: { header: 'COMMAND', value: (c) => quoted(cut(c.Command, COMMAND_CHARS)) },
      CreatedAt: { header: 'CREATED AT', value: (c) => goTime(c.Created) },
      ID: { header: 'CONTAINER ID', value: (c) => (trunc ? shortId(c.Id) : c.Id) },
      Image: { header: 'IMAGE', value: (c) => imageOf(c, trunc) },
      Labels: { header: 'LABELS', value: (c) => labelText(c.Labels) },
      LocalVolumes: {
        header: 'LOCAL VOLUMES',
        value: (c) => String(c.Mounts.filter((mount) => mount.Driver === 'local').length),
      },
      Mounts: {
        header: 'MOUNTS',
        value: (c) =>
          c.Mounts.map((mount) => cut(mount.Name || mount.Source, MOUNT_CHARS)).join(','),
      },
      Names: { header: 'NAMES', value: (c) => namesOf(c, trunc) },
      Networks: {
        header: 'NETWORKS',
        value: (c) =>
          Object.keys(c.NetworkSettings?.Networks ?? {})
            .toSorted()
            .join(','),
      },
      Platform: { header: '', value: (c) => platformOf(c) },
      Ports: { header: 'PORTS', value: (c) => formatPorts(c.Ports) },
      RunningFor: { header: 'CREATED', value: (c) => ago(c.Created, options.nowMs) },
      Size: { header: 'SIZE', value: sizeOf },
      State: { header: 'STATE', value: (c) => c.State },
      Status: { header: 'STATUS', value: (c) => c.Status },
    },
    methods: {
      Label: (c) => (name) => c.Labels[String(name)] ?? '',
    },
  };
}

function imageOf(container: ContainerSummary, trunc: boolean): string {
  const { Image: image, ImageID: id } = container;
  if (image === '') return '<no image>';
  if (!trunc) return image;
  if (shortId(id) === shortId(image)) return shortId(id);
  // A digest beside a tag only makes the column wide.
  const at = image.indexOf('@');
  return at >= 0 && /:[^/]+$/.test(image.slice(0, at)) ? image.slice(0, at) : image;
}

/** Names without slashes; those of links (`/web/db`) are left out of short lists. */
function namesOf(container: ContainerSummary, trunc: boolean): string {
  const names = container.Names.map((name) => name.replace(/^\//, ''));
  const shown = trunc ? names.filter((name) => !name.includes('/')) : names;
  return shown.join(',');
}

function platformOf(container: ContainerSummary): unknown {
  return container.ImageManifestDescriptor?.platform ?? null;
}

function sizeOf(container: ContainerSummary): string {
  const own = humanSize(container.SizeRw ?? 0, 3);
  const all = container.SizeRootFs ?? 0;
  return all > 0 ? `${own} (virtual ${humanSize(all, 3)})` : own;
}

function comparePorts(a: PortSummary, b: PortSummary): number {
  if (a.PrivatePort !== b.PrivatePort) return a.PrivatePort - b.PrivatePort;
  const ips = [a.IP ?? '', b.IP ?? ''];
  if (ips[0] !== ips[1]) return (ips[0] ?? '') < (ips[1] ?? '') ? -1 : 1;
  if ((a.PublicPort ?? 0) !== (b.PublicPort ?? 0)) return (a.PublicPort ?? 0) - (b.PublicPort ?? 0);
  return a.Type < b.Type ? -1 : a.Type > b.Type ? 1 : 0;
}

type Group = { first: number; last: number };

function formatGroup(key: string, group: Group): string {
  const slash = key.lastIndexOf('/');
  const ip = key.slice(0, slash);
  const type = key.slice(slash + 1);
  const range = group.first === group.last ? `${group.first}` : `${group.first}-${group.last}`;
  if (ip === '') return `${range}/${type}`;
  return `${hostText(ip)}:${range}->${range}/${type}`;
}

function hostText(ip: string): string {
  return ip.includes(':') ? `[${ip}]` : ip;
}

/**
 * `0.0.0.0:8000-8002->8000-8002/tcp, 443/tcp`: ports that follow each other, and that are the same
 * outside and inside, are shown as one range.
 */
export function formatPorts(ports: readonly PortSummary[]): string {
  const groups = new Map<string, Group>();
  const shown: string[] = [];
  const mapped: string[] = [];
  for (const port of ports.toSorted(comparePorts)) {
    const ip = port.IP ?? '';
    if (ip !== '' && port.PublicPort !== port.PrivatePort) {
      mapped.push(`${hostText(ip)}:${port.PublicPort}->${port.PrivatePort}/${port.Type}`);
      continue;
    }
    const key = `${ip}/${port.Type}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { first: port.PrivatePort, last: port.PrivatePort });
    else if (group.last + 1 === port.PrivatePort) group.last = port.PrivatePort;
    else {
      shown.push(formatGroup(key, group));
      groups.set(key, { first: port.PrivatePort, last: port.PrivatePort });
    }
  }
  for (const [key, group] of groups) shown.push(formatGroup(key, group));
  return [...shown, ...mapped].join(', ');
}

import { statusText } from '../../policy/container-status.ts';
import type { ContainerSummary } from '../../spec/docker/container-view.ts';
import type { Filters } from '../../spec/filters.ts';
import type { Engine } from '../engine.ts';
import { findImage } from '../images/resolve.ts';
import type { Container } from './container.ts';
import { containerSizes } from './inspect.ts';
import { listFilter } from './list-filter.ts';
import { mountView, networksView, portsView } from './views.ts';

export type ContainerListArgs = {
  readonly query: {
    readonly all: boolean;
    readonly limit: number | undefined;
    readonly size: boolean;
    readonly filters: Filters;
  };
};

/** Containers that match, newest first: the running ones, or all. @throws invalidArgument */
export async function containerList(
  engine: Engine,
  args: ContainerListArgs,
): Promise<ContainerSummary[]> {
  const { all, size, filters } = args.query;
  const limit = args.query.limit ?? 0;
  const matches = listFilter(engine, filters);
  const asksForEnded = 'status' in filters || 'exited' in filters;
  const showAll = all || limit > 0 || asksForEnded;
  const nameOfImage = imageNames(engine);
  const found: ContainerSummary[] = [];
  for (const container of engine.containers.list()) {
    if (limit > 0 && found.length === limit) break;
    if ((!showAll && !container.isRunning) || !matches(container)) continue;
    const summary = summaryOf(engine, container, nameOfImage(container));
    found.push(size ? { ...summary, ...(await containerSizes(engine, container)) } : summary);
  }
  return found;
}

/** The name a container's image was asked for by, or its ID when the name means another image now. */
function imageNames(engine: Engine): (container: Container) => string {
  const current = new Map<string, string | undefined>();
  return ({ document }) => {
    const name = document.config.Image;
    if (!current.has(name)) current.set(name, findImage(engine, name)?.image.id);
    return current.get(name) === document.imageId ? name : document.imageId;
  };
}

function summaryOf(engine: Engine, container: Container, image: string): ContainerSummary {
  const { id, name, document } = container;
  const { config, hostConfig } = document;
  return {
    Id: id,
    Names: [`/${name}`],
    Image: image,
    ImageID: document.imageId,
    Command: commandText(document.path, document.args),
    Created: Math.trunc(Date.parse(document.created) / 1000),
    Ports: portsView(engine, container),
    Labels: config.Labels,
    State: container.status,
    Status: containerStatusText(engine, container),
    HostConfig: {
      NetworkMode: hostConfig.NetworkMode,
      ...(Object.keys(hostConfig.Annotations).length === 0
        ? {}
        : { Annotations: hostConfig.Annotations }),
    },
    NetworkSettings: { Networks: networksView(container, engine.networks.find(id)) },
    Mounts: document.mounts.filter((mount) => mount.origin !== 'tmpfs').map(mountView),
  };
}

/** The STATUS column. */
export function containerStatusText(engine: Pick<Engine, 'clock'>, container: Container): string {
  const { kept, run } = container;
  const facts = {
    status: container.status,
    exitCode: kept.exitCode,
    upMs: run?.ageMs() ?? 0,
    endedMs: engine.clock.nowMs() - Date.parse(kept.finishedAt),
    health: container.health?.status,
  };
  return statusText(facts);
}

/** As a shell would take it, roughly: arguments with spaces in quotes. */
function commandText(path: string, args: readonly string[]): string {
  return [path, ...args.map((arg) => (arg.includes(' ') ? `'${arg}'` : arg))].join(' ');
}

import { containerConfigView, hostConfigView } from '../../spec/docker/config-view.ts';
import type { ContainerInspect } from '../../spec/docker/container-view.ts';
import type { GraphDriver } from '../../spec/docker/image.ts';
import type { Engine } from '../engine.ts';
import { logPath } from '../logs/shim-log.ts';
import type { Container } from './container.ts';
import { containerPaths } from './paths.ts';
import { mountView, networkSettingsView, stateView } from './views.ts';

/** All that is known of a container. */
export async function containerInspect(
  engine: Engine,
  args: { readonly params: { readonly id: string }; readonly query: { readonly size: boolean } },
): Promise<ContainerInspect> {
  const container = engine.containers.get(args.params.id);
  const { id, document } = container;
  const { config, hostConfig } = document;
  const paths = containerPaths(engine, id);
  return {
    Id: id,
    Created: document.created,
    Path: document.path,
    Args: document.args,
    State: stateView(container),
    Image: document.imageId,
    ResolvConfPath: paths.resolvConf,
    HostnamePath: paths.hostname,
    HostsPath: paths.hosts,
    LogPath: logPath(paths.data, id, hostConfig.LogConfig.Type),
    Name: `/${container.name}`,
    RestartCount: container.kept.restartCount,
    Driver: engine.layers.driver,
    Platform: 'linux',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: '',
    ExecIDs: container.execIds.size === 0 ? null : [...container.execIds],
    HostConfig: hostConfigView(hostConfig),
    GraphDriver: graphDriver(engine, container),
    ...(args.query.size ? await containerSizes(engine, container) : {}),
    Mounts: document.mounts.filter((mount) => mount.origin !== 'tmpfs').map(mountView),
    Config: containerConfigView(config),
    NetworkSettings: networkSettingsView(engine, container),
  };
}

/** Bytes of the writable layer, and with the image. */
export async function containerSizes(
  engine: Engine,
  container: Container,
): Promise<{ SizeRw: number; SizeRootFs: number }> {
  const SizeRw = await engine.layers.rootfsSize(container.id);
  const layers = container.document.layers.map((diffId) => engine.layers.find(diffId));
  const below = layers.reduce((sum, layer) => sum + (layer?.diskBytes ?? 0), 0);
  return { SizeRw, SizeRootFs: SizeRw + below };
}

function graphDriver(engine: Engine, container: Container): GraphDriver {
  const { driver } = engine.layers;
  // A damaged disk may have lost one; the container can still be looked at and removed.
  if (!container.document.layers.every((diffId) => engine.layers.find(diffId) !== undefined)) {
    return { Name: driver, Data: null };
  }
  const { lower, upper, work, merged } = engine.layers.rootfsPaths(
    container.id,
    container.document.layers,
  );
  const Data: Record<string, string> =
    driver === 'overlay2'
      ? { LowerDir: lower.join(':'), MergedDir: merged, UpperDir: upper, WorkDir: work }
      : { MergedDir: merged };
  return { Name: driver, Data };
}

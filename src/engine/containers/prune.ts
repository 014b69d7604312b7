import { parseTimeNs } from '../../base/clock.ts';
import { isEngineError } from '../../base/errors.ts';
import type { ContainerPruneResult } from '../../spec/docker/container-view.ts';
import { checkFilterKeys, type Filters, matchLabels, pruneUntilNs } from '../../spec/filters.ts';
import type { Call } from '../call.ts';
import type { Engine } from '../engine.ts';
import { removeNow } from './remove.ts';

/** Removes containers that do not run and match. @throws invalidArgument for unknown filters */
export async function containerPrune(
  engine: Engine,
  args: { readonly query: { readonly filters: Filters } },
  call: Call,
): Promise<ContainerPruneResult> {
  const { filters } = args.query;
  checkFilterKeys(filters, ['label', 'label!', 'until']);
  const nowNs = engine.clock.nowNs();
  const untilNs = pruneUntilNs(filters, nowNs);
  const deleted: string[] = [];
  let reclaimed = 0;
  for (const container of engine.containers.list()) {
    if (call.signal.aborted) break;
    const { config, created } = container.document;
    const unwanted = filters['label!'];
    if (container.isRunning || container.removing) continue;
    const createdNs = parseTimeNs(created) ?? 0n;
    if (untilNs !== undefined && createdNs > untilNs) continue;
    if (!matchLabels(filters['label'], config.Labels)) continue;
    if (unwanted !== undefined && matchLabels(unwanted, config.Labels)) continue;
    let bytes: number;
    try {
      bytes = await engine.layers.rootfsSize(container.id);
      await removeNow(engine, container, { force: false, removeVolumes: false });
    } catch (error) {
      // It was started, or removed, meanwhile.
      if (isEngineError(error, 'conflict', 'notFound')) continue;
      if (engine.containers.byId(container.id) === undefined) continue;
      throw error;
    }
    deleted.push(container.id);
    reclaimed += bytes;
  }
  engine.events.publish({
    type: 'container',
    action: 'prune',
    id: '',
    attributes: { reclaimed: String(reclaimed) },
  });
  return { ContainersDeleted: deleted.length === 0 ? null : deleted, SpaceReclaimed: reclaimed };
}

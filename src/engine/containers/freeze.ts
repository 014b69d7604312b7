import { conflict, internal, messageOf } from '../../base/errors.ts';
import { setFrozen } from '../../kernel/cgroup.ts';
import type { Engine } from '../engine.ts';
import type { Container, Run } from './container.ts';
import { containerEvent } from './events.ts';
import { cgroupOf } from './runtime.ts';

/** Pause and unpause: the freezer of the container's cgroup. */

async function set(engine: Engine, container: Container, run: Run, frozen: boolean): Promise<void> {
  const { folder } = cgroupOf(engine, container);
  try {
    await setFrozen(engine.host.cgroups, folder, frozen, (ms) => engine.clock.sleep(ms));
  } catch (cause) {
    const { id } = container;
    // Its processes ended, and their cgroup went, before the daemon heard of it.
    if (container.run !== run || !run.process.signal(0)) {
      throw conflict(`Container ${id} is not running`, { cause });
    }
    const verb = frozen ? 'pause' : 'unpause';
    throw internal(`cannot ${verb} container ${id}: ${messageOf(cause)}`, { cause });
  }
}

/** Stops every process of a container where it is. @throws conflict */
export async function freeze(engine: Engine, container: Container): Promise<void> {
  const { run, restart, id } = container;
  if (restart !== undefined) {
    throw conflict(`Container ${id} is restarting, wait until the container is running`);
  }
  if (run === undefined) throw conflict(`Container ${id} is not running`);
  if (run.paused) throw conflict(`Container ${id} is already paused`);
  await set(engine, container, run, true);
  run.paused = true;
  containerEvent(engine, container, 'pause');
}

/** Lets a paused container go on. */
export async function thaw(engine: Engine, container: Container, run: Run): Promise<void> {
  await set(engine, container, run, false);
  run.paused = false;
  containerEvent(engine, container, 'unpause');
}

import { conflict, invalidArgument } from '../../base/errors.ts';
import { SIGKILL } from '../../policy/signals.ts';
import type { Engine } from '../engine.ts';
import { type Container, lockOf } from './container.ts';
import { endRun } from './end-run.ts';
import { removeContainer } from './remove-container.ts';

export type ContainerRemoveArgs = {
  readonly params: { readonly id: string };
  readonly query: { readonly v: boolean; readonly force: boolean; readonly link: boolean };
};

/**
 * Removes a container; with `force` one that runs is killed first.
 * @throws notFound; conflict when it runs or is being removed
 */
export async function containerRemove(engine: Engine, args: ContainerRemoveArgs): Promise<void> {
  const container = engine.containers.get(args.params.id);
  const { v, force, link } = args.query;
  if (link) {
    throw invalidArgument(
      `cannot remove the link ${args.params.id}: links are names in a container's hosts file and go with it`,
    );
  }
  if (container.removing) {
    throw conflict(`removal of container ${args.params.id} is already in progress`);
  }
  await removeNow(engine, container, { force, removeVolumes: v });
}

/** Removes a container that is not being removed yet. */
export async function removeNow(
  engine: Engine,
  container: Container,
  options: { readonly force: boolean; readonly removeVolumes: boolean },
): Promise<void> {
  if (!options.force) checkEnded(container);
  await engine.locks.run(lockOf(container), async () => {
    if (container.removal !== undefined) return await container.removal;
    engine.containers.checkThere(container);
    if (!options.force) checkEnded(container);
    container.removing = true;
    try {
      const { run } = container;
      if (run !== undefined)
        await endRun(engine, container, run, { signal: SIGKILL, timeoutSec: 0 });
    } catch (error) {
      container.removing = false;
      throw error;
    }
    await removeContainer(engine, container, options);
  });
}

function checkEnded(container: Container): void {
  const { status, name } = container;
  const cannot = `cannot remove container "${name}"`;
  if (status === 'paused') {
    throw conflict(`${cannot}: container is paused and must be unpaused first`);
  }
  if (status === 'restarting') {
    throw conflict(
      `${cannot}: container is restarting: stop the container before removing or force remove`,
    );
  }
  if (container.isRunning) {
    throw conflict(
      `${cannot}: container is running: stop the container before removing or force remove`,
    );
  }
}

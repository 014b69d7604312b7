import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { errnoOf } from '../../base/errors.ts';
import type { Engine } from '../engine.ts';
import type { Container } from './container.ts';
import { type ContainerDocument, decodeKeptState, type KeptState } from './document.ts';
import { containerPaths } from './paths.ts';

/**
 * What of a container is written where.
 *
 *   database    made, started by the user, ended for good: what a reboot must find
 *   exec root   every change of its state: what the next daemon must find
 *
 * So a restart by policy wears no flash, and of a `--rm` container only its making and removal are
 * written: a reboot ends it, and what has ended is removed.
 */
type Context = Pick<Engine, 'store' | 'dataRoot' | 'execRoot'>;

/** A container that is new. */
export function saveNew(engine: Context, container: Container): void {
  engine.store.containers.add({
    id: container.id,
    name: container.name,
    imageId: container.document.imageId,
    document: JSON.stringify(container.document),
    state: JSON.stringify(container.kept),
  });
}

/** A changed state. `durable`: a reboot must find it. */
export function saveState(
  engine: Context,
  container: Container,
  change: Partial<KeptState>,
  options: { readonly durable: boolean },
): void {
  container.kept = { ...container.kept, ...change };
  const text = JSON.stringify(container.kept);
  const { run, state } = containerPaths(engine, container.id);
  mkdirSync(run, { recursive: true, mode: 0o711 });
  replaceFile(state, text);
  if (options.durable && !container.document.hostConfig.AutoRemove) {
    engine.store.containers.setState(container.id, text);
  }
}

/** A changed document. When it cannot be stored, the container keeps the one it has. */
export function saveDocument(
  engine: Context,
  container: Container,
  document: ContainerDocument,
): void {
  engine.store.containers.setDocument(container.id, JSON.stringify(document));
  container.document = document;
}

/** Readers see the old file or the new one. Not durable: the exec root does not outlive the host. */
function replaceFile(file: string, text: string): void {
  writeFileSync(`${file}.new`, text, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** The state that the last daemon left in the exec root; undefined after a reboot. */
export function readState(engine: Context, id: string): KeptState | undefined {
  try {
    return decodeKeptState(readFileSync(containerPaths(engine, id).state, 'utf8'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

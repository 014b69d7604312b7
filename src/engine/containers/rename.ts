import { invalidArgument } from '../../base/errors.ts';
import { NAME_PATTERN } from '../../base/id.ts';
import type { Engine } from '../engine.ts';
import { lockOf } from './container.ts';
import { containerEvent } from './events.ts';

/** Gives a container another name. @throws invalidArgument, conflict when the name is taken */
export async function containerRename(
  engine: Engine,
  args: { readonly params: { readonly id: string }; readonly query: { readonly name: string } },
): Promise<void> {
  const container = engine.containers.get(args.params.id);
  const name = args.query.name.replace(/^\//, '');
  if (name === '') throw invalidArgument('Neither old nor new names may be empty');
  if (!NAME_PATTERN.test(name)) {
    throw invalidArgument(
      `Invalid container name (${args.query.name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
    );
  }
  await engine.locks.run(lockOf(container), () => {
    engine.containers.checkThere(container);
    const oldName = container.name;
    if (name === oldName) {
      throw invalidArgument('Renaming a container with the same name as its current name');
    }
    using _name = engine.containers.reserveName(name, container.id);
    engine.store.containers.rename(container.id, name);
    engine.containers.rename(container, name);
    engine.networks.rename(container.id, name);
    containerEvent(engine, container, 'rename', { oldName: `/${oldName}` });
  });
}

import { compareTimes } from '../../base/clock.ts';
import type { DiffId, ImageId } from '../../base/digest.ts';
import { conflict, invalidArgument, notFound } from '../../base/errors.ts';
import type { ContainerId } from '../../base/id.ts';
import { Execs } from '../execs/exec.ts';
import type { Container } from './container.ts';

/** The containers there are, found by ID, unique prefix of it, or name. */
export class Containers {
  readonly #byId = new Map<ContainerId, Container>();
  readonly #byName = new Map<string, Container>();
  /** Names of containers that are being made. */
  readonly #reserved = new Map<string, ContainerId>();

  readonly execs = new Execs();
  /** Set at the daemon's orderly stop: ends then are not the containers' own. */
  isShuttingDown = false;

  /** All, newest first. */
  list(): Container[] {
    return [...this.#byId.values()].sort((a, b) =>
      compareTimes(b.document.created, a.document.created),
    );
  }

  /** By exact ID. */
  byId(id: ContainerId): Container | undefined {
    return this.#byId.get(id);
  }

  /** By exact name, with or without the leading slash. */
  byName(name: string): Container | undefined {
    return this.#byName.get(name.replace(/^\//, ''));
  }

  /**
   * By what a user wrote: an ID, a name, or an ID's beginning, in this order.
   * @throws invalidArgument when the beginning fits several
   */
  find(reference: string): Container | undefined {
    const exact = this.#byId.get(reference as ContainerId) ?? this.byName(reference);
    if (exact !== undefined || !/^[0-9a-f]{1,64}$/.test(reference)) return exact;
    let found: Container | undefined;
    for (const [id, container] of this.#byId) {
      if (!id.startsWith(reference)) continue;
      if (found !== undefined) {
        throw invalidArgument(`Multiple IDs found with provided prefix: ${reference}`);
      }
      found = container;
    }
    return found;
  }

  /** {@link find}, or notFound in Docker's words. */
  get(reference: string): Container {
    const container = this.find(reference);
    if (container === undefined) throw notFound(`No such container: ${reference}`);
    return container;
  }

  /**
   * For who waited for a container's lock: it may have been removed meanwhile, and its name may be
   * another's by now.
   * @throws notFound
   */
  checkThere(container: Container): void {
    if (this.#byId.get(container.id) !== container) {
      throw notFound(`No such container: ${container.id}`);
    }
  }

  /** Containers made from an image, whatever their state. */
  usersOfImage(imageId: ImageId): Container[] {
    return [...this.#byId.values()].filter((each) => each.document.imageId === imageId);
  }

  /** Layers that some container stands on, whether or not an image names them still. */
  layersInUse(): Set<DiffId> {
    return new Set([...this.#byId.values()].flatMap((each) => each.document.layers));
  }

  /** True when nobody has the name. */
  isNameFree(name: string): boolean {
    return !this.#byName.has(name) && !this.#reserved.has(name);
  }

  /**
   * Takes a name for a container that is being made or renamed, until disposed.
   * @throws conflict in Docker's words
   */
  reserveName(name: string, id: ContainerId): Disposable {
    const holder = this.#byName.get(name)?.id ?? this.#reserved.get(name);
    if (holder !== undefined) {
      throw conflict(
        `Conflict. The container name "/${name}" is already in use by container "${holder}". You have to remove (or rename) that container to be able to reuse that name.`,
      );
    }
    this.#reserved.set(name, id);
    return { [Symbol.dispose]: () => void this.#reserved.delete(name) };
  }

  /** A container has this ID, is being made with it, or is being removed. */
  hasId(id: string): boolean {
    return (
      this.#byId.has(id as ContainerId) || [...this.#reserved.values()].includes(id as ContainerId)
    );
  }

  add(container: Container): void {
    this.#byId.set(container.id, container);
    this.#byName.set(container.name, container);
  }

  rename(container: Container, name: string): void {
    this.#byName.delete(container.name);
    container.name = name;
    this.#byName.set(name, container);
  }

  delete(container: Container): void {
    this.#byId.delete(container.id);
    this.#byName.delete(container.name);
    this.execs.forget(container);
  }
}

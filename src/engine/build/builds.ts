import path from 'node:path';
import { unavailable } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';

/** The builds that run now. */
export class Builds {
  #running = 0;
  readonly #trees = new Set<string>();

  /** One more, until disposed. @throws unavailable when there are too many */
  begin(): Disposable {
    if (this.#running >= LIMITS.buildsMax) {
      throw unavailable(`${LIMITS.buildsMax} builds are running: wait until one has ended`);
    }
    this.#running += 1;
    return {
      [Symbol.dispose]: () => {
        this.#running -= 1;
      },
    };
  }

  /** Says that a folder of the containers' is a build's, though no container is called so. */
  claimTree(id: string): Disposable {
    this.#trees.add(id);
    return { [Symbol.dispose]: () => void this.#trees.delete(id) };
  }

  /** Is it a folder that a build works in? */
  uses(folder: string): boolean {
    return this.#trees.has(path.basename(folder));
  }
}

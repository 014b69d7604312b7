import path from 'node:path';
import type { ImageId } from '../../base/digest.ts';
import { unavailable } from '../../base/errors.ts';
import { Holds } from '../../base/holds.ts';
import { LIMITS } from '../../base/limits.ts';

/** The builds that run now. */
export class Builds {
  #running = 0;
  readonly #trees = new Set<string>();
  readonly #images = new Holds<ImageId>();

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

  /** Keeps the image of a step, until disposed: nothing names it before the next one is made. */
  holdImage(id: ImageId): Disposable {
    return this.#images.hold([id]);
  }

  /** Does a build stand on the image? */
  usesImage(id: ImageId): boolean {
    return this.#images.has(id);
  }

  /** Is it a folder that a build works in? */
  uses(folder: string): boolean {
    return this.#trees.has(path.basename(folder));
  }
}

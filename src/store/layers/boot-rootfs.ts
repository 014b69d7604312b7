import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../../base/errors.ts';
import { encodeMountRecipe, type MountRecipe } from '../../formats/mount-recipe.ts';
import { fsyncDirectory, writeFileDurably } from '../../kernel/durable.ts';
import type { DataRoot } from '../paths.ts';

/** Beside the writable layer of a container that is to be booted; `formats/mount-recipe.ts`. */
const RECIPE = 'mount';

/** How one is mounted, with absolute paths; undefined while a layer of it is missing. */
type Describe = (containerId: string) => Omit<MountRecipe, 'target'> | undefined;

/**
 * The filesystems of bare containers: a host boots from them, so each has a mount recipe that is
 * true at every instant, and a mount point in the data root, which is there without the engine.
 */
export type BootRootfs = {
  /** Absolute mount point; undefined for an ordinary container. */
  readonly mountPoint: (containerId: string) => string | undefined;
  /** Makes the mount point and the recipe, durably. */
  readonly add: (containerId: string) => void;
  /** Before the files that it names go. */
  readonly remove: (containerId: string) => void;
  /** Rewrites the recipes that are not true any more. */
  readonly refresh: () => void;
};

/** Finds the recipes that are there. */
export function bootRootfs(dataRoot: DataRoot, describe: Describe): BootRootfs {
  const at = (containerId: string, name: string): string =>
    path.join(dataRoot.containers, containerId, name);
  const recipe = (containerId: string): string => at(containerId, RECIPE);
  const known = new Set(
    existsSync(dataRoot.containers)
      ? readdirSync(dataRoot.containers).filter((id) => existsSync(recipe(id)))
      : [],
  );

  const write = (containerId: string): void => {
    const mount = describe(containerId);
    if (mount === undefined) return;
    const inside = (value: string): string =>
      value.startsWith('/') ? path.relative(dataRoot.root, value) : value;
    const text = encodeMountRecipe({
      type: mount.type,
      target: inside(at(containerId, 'rootfs')),
      parameters: mount.parameters.map(([key, value]) => [key, inside(value)]),
    });
    const before = readIfThere(recipe(containerId));
    // A lost layer is struck off its containers until it comes again: none boots without it.
    if (before !== undefined && lowersIn(text) < lowersIn(before)) return;
    if (text !== before) writeFileDurably(recipe(containerId), text);
  };

  return {
    mountPoint: (containerId) => (known.has(containerId) ? at(containerId, 'rootfs') : undefined),
    add: (containerId) => {
      mkdirSync(at(containerId, 'rootfs'), { recursive: true, mode: 0o755 });
      write(containerId);
      known.add(containerId);
    },
    remove: (containerId) => {
      if (!known.delete(containerId)) return;
      rmSync(recipe(containerId), { force: true });
      fsyncDirectory(path.dirname(recipe(containerId)));
    },
    refresh: () => {
      for (const containerId of known) write(containerId);
    },
  };
}

/** How many lower layers a recipe has: a container's are as many as ever. */
function lowersIn(text: string): number {
  return text.match(/^lowerdir\+=/gm)?.length ?? 0;
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

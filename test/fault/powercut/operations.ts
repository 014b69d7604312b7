import {
  commit,
  createContainer,
  createNetwork,
  createVolume,
  pruneContainers,
  pruneVolumes,
  removeContainer,
  removeNetwork,
  removeVolume,
  runOnce,
} from './container-operations.ts';
import {
  build,
  delta,
  load,
  pruneImages,
  pull,
  pullLarge,
  push,
  removeImage,
  repair,
  tag,
} from './image-operations.ts';
import type { Supplies } from './supplies.ts';
import type { Draw, Kind, Operation, World } from './world.ts';

/** What is done, and how often. */
const KINDS: readonly (readonly [Kind, weight: number])[] = [
  [pull, 6],
  [pullLarge, 1],
  [load, 4],
  [delta, 6],
  [build, 4],
  [createContainer, 4],
  [runOnce, 2],
  [commit, 2],
  [createVolume, 2],
  [createNetwork, 1],
  [removeImage, 5],
  [removeContainer, 2],
  [removeVolume, 1],
  [removeNetwork, 1],
  [tag, 2],
  [push, 2],
  [repair, 2],
  [pruneContainers, 1],
  [pruneVolumes, 1],
  [pruneImages, 2],
];
const WEIGHTS = KINDS.reduce((sum, [, weight]) => sum + weight, 0);

const TRIES = 1000;

/**
 * The next operation that makes sense in this world, of those whose name begins with `only`; any
 * when none does.
 */
export function nextOperation(
  draw: Draw,
  world: World,
  supplies: Supplies,
  only: string = '',
): Operation {
  for (let tries = 0; ; tries += 1) {
    let at = draw() * WEIGHTS;
    const chosen = KINDS.find(([, weight]) => {
      at -= weight;
      return at < 0;
    });
    const operation = chosen?.[0](draw, world, supplies);
    const isWanted = tries > TRIES || operation?.name.startsWith(only) === true;
    if (operation !== undefined && isWanted) return operation;
  }
}

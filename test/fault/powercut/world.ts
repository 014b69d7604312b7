import type { TestDaemon } from '../../support/daemon.ts';
import type { Supplies } from './supplies.ts';

/** Draws from 0 (included) to 1 (not included). */
export type Draw = () => number;

/**
 * What exists: `image REFERENCE` and `container NAME`, both with an image's ID, `volume NAME` and
 * `network NAME`. After a cut all of it must be there and nothing else, but for what the operation
 * that was cut would have changed: each name of that is as before or as after.
 */
export type World = ReadonlyMap<string, string>;

/** The ID of an image that only the engine knows. */
export const SOME_ID = 'some ID';

/** One thing that a user does, and what it makes of the world when it succeeds. */
export type Operation = {
  /** As it is printed: `pull app:3`. */
  readonly name: string;
  readonly run: (daemon: TestDaemon) => Promise<void>;
  readonly after: (before: World) => World;
  /** What a user does after a cut before all is well; only for what was damaged by hand. */
  readonly settle?: (daemon: TestDaemon) => Promise<void>;
  /** It goes on with what the one before left of itself. */
  readonly isResumable?: boolean;
};

/** Makes an operation that makes sense in a world; undefined when there is none. */
export type Kind = (draw: Draw, world: World, supplies: Supplies) => Operation | undefined;

/** The world with one thing more, or another of the name. */
export const withEntry = (world: World, key: string, value: string): World =>
  new Map([...world, [key, value]]);

/** The world with some things less. */
export const without = (world: World, ...keys: readonly string[]): World =>
  new Map([...world].filter(([key]) => !keys.includes(key)));

export function pick<T>(draw: Draw, from: readonly T[]): T | undefined {
  return from[Math.floor(draw() * from.length)];
}

/** All of one kind: `image`, `container`, `volume`, `network`. */
export function keys(world: World, kind: string): string[] {
  return [...world.keys()].filter((key) => key.startsWith(`${kind} `));
}

/** `image app:3` → `app:3`. */
export const nameOf = (key: string): string => key.slice(key.indexOf(' ') + 1);

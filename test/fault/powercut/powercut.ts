import { existsSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CrashDisk, type FilesystemKind } from '../../support/crash-disk.ts';
import { TestDaemon } from '../../support/daemon.ts';
import { unmountAllBelow } from '../../support/mounts.ts';
import { eventually } from '../../support/processes.ts';
import { takeStock } from '../../support/resources.ts';
import {
  assertBeforeOrAfter,
  assertContainersStart,
  assertImagesWhole,
  assertNothingUnlisted,
  worldOf,
} from './inspection.ts';
import { type Draw, nextOperation, type Operation, type World } from './operations.ts';
import { makeSupplies, type Supplies } from './supplies.ts';

export type PowercutOptions = {
  readonly filesystem: FilesystemKind;
  readonly cuts: number;
  /** The same seed gives the same operations and moments; what a moment hits is the machine's. */
  readonly seed: number;
  readonly onCut?: (line: string) => void;
};

/** A cut comes at any moment of an operation, and now and then just after it. */
const PAST_END = 1.15;
/** How long an operation takes before one of its kind was seen. */
const FIRST_GUESS_MS = 250;
/** Operations that run to their end before each one that is cut. */
const WHOLE_MAX = 2;

/**
 * Cuts the power `cuts` times, each time at a random moment of a random operation, and looks at
 * everything after the next start, which nobody helps. @throws when something is not as it must be
 */
export async function cutPower(options: PowercutOptions): Promise<void> {
  const draw = generator(options.seed);
  await using supplies = await makeSupplies();
  await using disk = await CrashDisk.make(options.filesystem);
  await using daemon = new TestDaemon({ dataRoot: path.join(disk.mountPoint, 'data') });
  await daemon.start();
  let world: World = new Map();
  const pace = new Pace();
  for (let cut = 1; cut <= options.cuts; cut += 1) {
    const round = { daemon, disk, draw, supplies, world, pace };
    const { said, actual } = await oneCut(round).catch((error: unknown) => {
      const where = `cut ${cut} of seed ${options.seed} on ${disk.kind}`;
      throw new Error(`${where}: ${String(error)}\n${tailOf(daemon.log())}`, { cause: error });
    });
    world = actual;
    options.onCut?.(`${String(cut).padStart(4)}  ${said}`);
  }
  await assertAllGivenBack(daemon, world);
}

type Round = {
  readonly daemon: TestDaemon;
  readonly disk: CrashDisk;
  readonly draw: Draw;
  readonly supplies: Supplies;
  readonly world: World;
  readonly pace: Pace;
};

/** How long each kind of operation takes, from those that came to their end. */
class Pace {
  readonly #ms = new Map<string, number>();

  async timed(operation: Operation, body: () => Promise<void>): Promise<void> {
    const began = performance.now();
    await body();
    const took = performance.now() - began;
    const before = this.#ms.get(kindOf(operation)) ?? took;
    this.#ms.set(kindOf(operation), (before + took) / 2);
  }

  of(operation: Operation): number {
    return this.#ms.get(kindOf(operation)) ?? FIRST_GUESS_MS;
  }
}

const kindOf = (operation: Operation): string => operation.name.split(' ', 1)[0] ?? '';

async function oneCut(round: Round): Promise<{ said: string; actual: World }> {
  const { daemon, draw, supplies, pace } = round;
  let { world } = round;
  for (let whole = Math.floor(draw() * (WHOLE_MAX + 1)); whole > 0; whole -= 1) {
    const operation = nextOperation(draw, world, supplies);
    await pace.timed(operation, () => operation.run(daemon));
    world = operation.after(world);
  }
  const operation = nextOperation(draw, world, supplies);
  const momentMs = draw() * PAST_END * pace.of(operation);
  const isDone = await cutDuring(round, operation, momentMs);
  await daemon.start();
  const actual = await worldOf(daemon);
  assertBeforeOrAfter(actual, { before: world, after: operation.after(world), isDone });
  await assertNothingUnlisted(daemon);
  await assertImagesWhole(daemon);
  await assertContainersStart(daemon);
  const state = isDone ? 'was done' : 'was under way';
  return { said: `${momentMs.toFixed(0).padStart(4)} ms  ${operation.name} ${state}`, actual };
}

/** True when the operation was answered before the power went. */
async function cutDuring(
  { daemon, disk, pace }: Round,
  operation: Operation,
  momentMs: number,
): Promise<boolean> {
  let isCut = false;
  let isDone = false;
  const running = pace
    .timed(operation, () => operation.run(daemon))
    .then(
      () => {
        isDone = !isCut;
      },
      (error: unknown) => {
        if (!isCut) throw new Error(`${operation.name}: ${String(error)}`);
      },
    );
  // Its failure before the cut is looked at below; until then somebody must listen.
  running.catch(() => undefined);
  await Promise.race([sleep(momentMs), running.then(() => sleep(5))]);
  disk.cut();
  isCut = true;
  await daemon.stop('SIGKILL');
  await running;
  await reboot(daemon, disk);
  return isDone;
}

/** What a power cut ends besides the daemon: its workers, its mounts, and all that is in memory. */
async function reboot(daemon: TestDaemon, disk: CrashDisk): Promise<void> {
  const owner = { dataRoot: daemon.dataRoot, execRoot: daemon.execRoot, pid: 0 };
  await eventually(() => takeStock(owner).processes.length === 0, {
    what: 'the end of what the daemon had started',
  });
  unmountAllBelow(daemon.execRoot);
  rmSync(daemon.execRoot, { recursive: true, force: true });
  await disk.reboot();
}

/** Without images, containers and volumes nothing is left on the disk. */
async function assertAllGivenBack(daemon: TestDaemon, world: World): Promise<void> {
  const named = (kind: string): string[] =>
    [...world.keys()].filter((key) => key.startsWith(kind)).map((key) => key.slice(kind.length));
  for (const name of named('container ')) await daemon.json('DELETE', `/containers/${name}`);
  for (const name of named('volume ')) await daemon.json('DELETE', `/volumes/${name}`);
  await daemon.json('POST', '/images/prune?filters={"dangling":["false"]}');
  await assertNothingUnlisted(daemon);
  const partial = path.join(daemon.dataRoot, 'partial');
  if (existsSync(partial) && readdirSync(partial).length > 0) throw new Error('parts are left');
  const left = await worldOf(daemon);
  if (left.size > 0) throw new Error(`left behind: ${[...left.keys()].join(' ')}`);
}

/** Numbers from 0 to 1 that depend on the seed alone (mulberry32). */
function generator(seed: number): Draw {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function tailOf(log: string): string {
  return log.split('\n').slice(-25).join('\n');
}

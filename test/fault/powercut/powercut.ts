import { existsSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CrashDisk, type FilesystemKind } from '../../support/crash-disk.ts';
import { TestDaemon } from '../../support/daemon.ts';
import { unmountAllBelow } from '../../support/mounts.ts';
import { eventually, run } from '../../support/processes.ts';
import { takeStock } from '../../support/resources.ts';
import { networkBridge } from './container-operations.ts';
import {
  assertBeforeOrAfter,
  assertContainersStart,
  assertImagesWhole,
  assertNothingUnlisted,
  worldOf,
} from './inspection.ts';
import { nextOperation } from './operations.ts';
import { Steps } from './steps.ts';
import { makeSupplies, type Supplies } from './supplies.ts';
import { type Draw, keys, nameOf, type Operation, type World } from './world.ts';

export type PowercutOptions = {
  readonly filesystem: FilesystemKind;
  /** Its disk has a volatile cache: what was written but not flushed may be lost, in any order. */
  readonly hasCache?: boolean;
  readonly cuts: number;
  /**
   * The same seed gives the same operations, and the same steps and moments for the power to go;
   * what a moment hits is the machine's.
   */
  readonly seed: number;
  /** Cuts only operations whose name begins so, where it can be. */
  readonly only?: string;
  readonly onCut?: (line: string) => void;
};

/** Operations that run to their end before each one that is cut. */
const WHOLE_MAX = 2;
/** The start after a cut is cut as well. */
const CUT_START_SHARE = 0.25;
/** What was cut and can be gone on with is cut again. */
const CUT_AGAIN_SHARE = 0.6;

/**
 * Cuts the power `cuts` times, each time at a random moment or step of a random operation, and looks
 * at everything after the next start, which nobody helps. @throws when something is not as it must be
 */
export async function cutPower(options: PowercutOptions): Promise<void> {
  const draw = generator(options.seed);
  await using supplies = await makeSupplies();
  await using disk = await CrashDisk.make(options.filesystem, options.hasCache);
  const dataRoot = path.join(disk.mountPoint, 'data');
  using steps = await Steps.open({ disk: disk.cutPoint, data: dataRoot });
  await using daemon = new TestDaemon({ dataRoot, env: steps.env });
  await daemon.start();
  const pace = new Pace(steps);
  let world: World = new Map();
  let again: Operation | undefined;
  for (let cut = 1; cut <= options.cuts; cut += 1) {
    const { only } = options;
    const round = { daemon, disk, draw, supplies, world, pace, steps, again, only, said: [] };
    try {
      ({ world, again } = await oneCut(round));
    } catch (cause) {
      const where = `cut ${cut} of seed ${options.seed} on ${disk.kind}, ${round.said.join(', ')}`;
      throw new Error(`${where}: ${String(cause)}\n${tailOf(daemon.log())}`, { cause });
    }
    options.onCut?.(`${String(cut).padStart(4)}  ${round.said.join(', ')}`);
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
  readonly steps: Steps;
  /** It was cut, and can be gone on with. */
  readonly again: Operation | undefined;
  readonly only: string | undefined;
  /** What is told of this cut, as it comes. */
  readonly said: string[];
};

/** How the world is after a cut; `again` is what may be gone on with. */
async function oneCut(round: Round): Promise<{ world: World; again: Operation | undefined }> {
  const { daemon, draw, supplies, said } = round;
  let { world, again } = round;
  if (draw() >= CUT_AGAIN_SHARE && again !== undefined) {
    world = await runWhole(round, again, world);
    again = undefined;
  }
  for (let whole = Math.floor(draw() * (WHOLE_MAX + 1)); whole > 0; whole -= 1) {
    world = await runWhole(round, nextOperation(draw, world, supplies), world);
  }
  const operation = again ?? nextOperation(draw, world, supplies, round.only);
  said.push(operation.name);
  const isDone = await cutDuring(round, operation, chooseMoment(round, operation));
  if (draw() < CUT_START_SHARE) await cutStart(round);
  await daemon.start();
  await operation.settle?.(daemon);
  const actual = await worldOf(daemon);
  assertBeforeOrAfter(actual, { before: world, after: operation.after(world), isDone });
  await assertNothingUnlisted(daemon);
  await assertImagesWhole(daemon);
  await assertContainersStart(daemon);
  const isLeft = operation.isResumable === true && !isDone;
  return { world: actual, again: isLeft ? operation : undefined };
}

/** Nobody cuts this one: all of it must come. */
async function runWhole(round: Round, operation: Operation, world: World): Promise<World> {
  await round.pace.measure(operation, () => operation.run(round.daemon));
  const actual = await worldOf(round.daemon);
  assertBeforeOrAfter(actual, { before: world, after: operation.after(world), isDone: true });
  return actual;
}

/** When the power goes: before a step of the operation, or some time after its beginning or end. */
type Moment =
  | { readonly kind: 'step'; readonly number: number }
  | { readonly kind: 'time' | 'end'; readonly ms: number };

function chooseMoment({ draw, pace }: Round, operation: Operation): Moment {
  const [kind, share] = [draw(), draw()];
  const { ms, steps } = pace.of(operation);
  if (kind < 0.6) return { kind: 'step', number: 1 + Math.floor(share * steps) };
  // What was answered must be kept, from that very moment.
  if (kind < 0.75) return { kind: 'end', ms: Math.floor(share * 2) * 20 };
  return { kind: 'time', ms: share * ms };
}

/** True when the operation was answered before the power went. */
async function cutDuring(round: Round, operation: Operation, moment: Moment): Promise<boolean> {
  const { daemon, pace, steps, said } = round;
  steps.arm(moment.kind === 'step' ? moment.number : 0);
  let isCut = false;
  let isDone = false;
  const running = pace
    .measure(operation, () => operation.run(daemon))
    .then(
      () => {
        isDone = !isCut && steps.cutBefore === undefined;
      },
      (error: unknown) => {
        if (!isCut && steps.cutBefore === undefined) throw new Error(`it failed: ${String(error)}`);
      },
    );
  // Its failure before the cut is looked at below; until then somebody must listen.
  running.catch(() => undefined);
  const ended = running.then(
    () => sleep(moment.kind === 'end' ? moment.ms : 5),
    () => undefined,
  );
  if (moment.kind === 'time') await Promise.race([sleep(moment.ms), ended]);
  else if (moment.kind === 'end') await ended;
  else await cutOr(steps, ended);
  isCut = true;
  const before = await cutNow(round);
  said.push(before === undefined ? momentText(moment, isDone) : stepText(round, before));
  await daemon.stop('SIGKILL');
  await running;
  await reboot(round);
  return isDone;
}

/** Cuts the power while the daemon cleans up after the cut before. */
async function cutStart(round: Round): Promise<void> {
  const { daemon, draw, pace, steps, said } = round;
  steps.arm(1 + Math.floor(draw() * pace.startSteps));
  // What it says when its disk goes is its own affair.
  const up = daemon.start().then(
    () => sleep(20),
    () => undefined,
  );
  await cutOr(steps, up);
  const count = steps.count;
  const before = await cutNow(round);
  if (before === undefined) pace.startSteps = Math.max(1, count);
  const text = before === undefined ? 'when it was up' : stepText(round, before);
  said.push(`and at the next start ${text}`);
  await daemon.stop('SIGKILL');
  await up;
  await reboot(round);
}

/** Cuts the power if nobody has; gives the call that it was cut before, if any. */
async function cutNow({ disk, steps }: Round): Promise<string | undefined> {
  if (steps.cutBefore !== undefined) return steps.cutBefore;
  try {
    disk.cut();
    return steps.cutBefore;
  } catch {
    // A step came this very moment: of a dead disk not even the folder can be opened.
    return await eventually(() => steps.cutBefore, { what: 'the step that the disk died of' });
  }
}

/** Waits until the power is cut, or something else has come to its end. */
async function cutOr(steps: Steps, other: Promise<unknown>): Promise<void> {
  let isOver = false;
  const over = other.then(() => {
    isOver = true;
  });
  await Promise.race([over, untilCut(steps, () => isOver)]);
}

async function untilCut(steps: Steps, isOver: () => boolean): Promise<void> {
  while (steps.cutBefore === undefined && !isOver()) await sleep(1);
}

function momentText(moment: Moment, isDone: boolean): string {
  if (moment.kind === 'step') return `at step ${moment.number}, which did not come`;
  const text = `after ${moment.ms.toFixed(0)} ms`;
  if (moment.kind === 'end') return `${text} of rest`;
  return isDone ? `${text}, when it was done` : text;
}

function stepText({ disk, steps }: Round, before: string): string {
  return `at step ${steps.cutAt}, before ${before.replace(`${disk.mountPoint}/`, '')}`;
}

/** How long each kind of operation takes, and how many steps, from those that came to their end. */
class Pace {
  readonly #steps: Steps;
  readonly #known = new Map<string, { readonly ms: number; readonly steps: number }>();
  /** Of a start, with all that it removes. */
  startSteps = 8;

  constructor(steps: Steps) {
    this.#steps = steps;
  }

  async measure(operation: Operation, body: () => Promise<void>): Promise<void> {
    const began = performance.now();
    const stepsBefore = this.#steps.count;
    await body();
    const ms = performance.now() - began;
    const steps = this.#steps.count - stepsBefore;
    const before = this.#known.get(kindOf(operation)) ?? { ms, steps };
    this.#known.set(kindOf(operation), {
      ms: (before.ms + ms) / 2,
      steps: Math.max(1, (before.steps + steps) / 2),
    });
  }

  /** A guess, before one of its kind was seen. */
  of(operation: Operation): { readonly ms: number; readonly steps: number } {
    const ms = operation.isResumable === true ? 5_000 : 250;
    return this.#known.get(kindOf(operation)) ?? { ms, steps: 12 };
  }
}

const kindOf = (operation: Operation): string => operation.name.split(' ', 1)[0] ?? '';

/** What a power cut ends besides the daemon: its workers, its mounts, and all that is in memory. */
async function reboot({ daemon, disk, steps }: Round): Promise<void> {
  steps.arm(0);
  const owner = { dataRoot: daemon.dataRoot, execRoot: daemon.execRoot, pid: 0 };
  await eventually(() => takeStock(owner).processes.length === 0, {
    what: 'the end of what the daemon had started',
  });
  for (const bridge of [daemon.bridge, networkBridge(daemon)]) {
    await run('ip', ['link', 'delete', bridge]); // where there is one
  }
  unmountAllBelow(daemon.execRoot, daemon.dataRoot);
  rmSync(daemon.execRoot, { recursive: true, force: true });
  await disk.reboot();
}

/** Without images, containers and volumes nothing is left on the disk. */
async function assertAllGivenBack(daemon: TestDaemon, world: World): Promise<void> {
  for (const kind of ['container', 'volume', 'network']) {
    const names = keys(world, kind).map(nameOf);
    for (const name of names) await daemon.json('DELETE', `/${kind}s/${name}`);
  }
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

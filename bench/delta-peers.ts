import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { EngineGroup, Peak } from './accounting.ts';

/** A delta tool of Debian's: its command lines, by the files that they read and write. */
type Tool = {
  readonly name: string;
  readonly make: (files: Files) => readonly string[];
  readonly use: (files: Files) => readonly string[];
  /** Bytes of the largest file for which it is run: it takes minutes, and many times the file. */
  readonly bytesMax: number;
};

type Files = {
  readonly old: string;
  readonly target: string;
  readonly delta: string;
  readonly output: string;
};

const TOOLS: readonly Tool[] = [
  {
    name: 'rdiff',
    make: ({ old, target, delta }) => [
      'sh',
      '-c',
      'rdiff -f signature "$0" "$2.sig" && rdiff -f delta "$2.sig" "$1" "$2.raw" && gzip -c "$2.raw" > "$2"',
      old,
      target,
      delta,
    ],
    use: ({ old, delta, output }) => ['rdiff', '-f', 'patch', old, `${delta}.raw`, output],
    bytesMax: Number.POSITIVE_INFINITY,
  },
  {
    name: 'xdelta3 -9',
    make: ({ old, target, delta }) => [
      ...['xdelta3', '-9', '-f', '-B', '2147483648', '-e', '-s', old, target, delta],
    ],
    use: ({ old, delta, output }) => [
      ...['xdelta3', '-f', '-B', '2147483648', '-d', '-s', old, delta, output],
    ],
    bytesMax: Number.POSITIVE_INFINITY,
  },
  {
    name: 'zstd -19 --patch-from',
    make: ({ old, target, delta }) => [
      ...['zstd', '-q', '-f', '-19', '--long=29', `--patch-from=${old}`, target, '-o', delta],
    ],
    use: ({ old, delta, output }) => [
      ...['zstd', '-q', '-f', '-d', '--long=29', `--patch-from=${old}`, delta, '-o', output],
    ],
    // With a tar of this size it takes ten minutes.
    bytesMax: 200e6,
  },
  {
    name: 'bsdiff',
    make: ({ old, target, delta }) => ['bsdiff', old, target, delta],
    use: ({ old, delta, output }) => ['bspatch', old, output, delta],
    // 17 bytes of memory for each byte.
    bytesMax: 160e6,
  },
];

/** CPU seconds and peak RSS of a command with all that it starts. */
async function cost(command: readonly string[]): Promise<Cost> {
  using group = new EngineGroup('coracle-bench-peer');
  using peak = new Peak(() => group.memoryKb('Rss'), 50);
  const [program = '', ...args] = group.wrap(command);
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`${command.join(' ')}: ended with ${code}`);
  return { cpuSec: group.cpuMs() / 1e3, rssMb: peak.peak / 1024 };
}

type Cost = { readonly cpuSec: number; readonly rssMb: number };
const shown = ({ cpuSec, rssMb }: Cost): string => `${cpuSec.toFixed(1)} s, ${rssMb.toFixed(0)} MB`;

function line(name: string, bytes: number, make: string, use: string): void {
  const size = bytes.toLocaleString('en').padStart(12);
  console.log(`  ${name.padEnd(24)}${size} bytes   create ${make.padEnd(16)}${use}`);
}

/** Two files, and where there is room for deltas between them. */
export type PeerPair = {
  readonly name: string;
  readonly old: string;
  readonly target: string;
  readonly work: string;
};

/**
 * Measures the delta tools on two files and prints a line for each. `quick`: without those that
 * take minutes.
 */
export async function measurePeers({ name, ...pair }: PeerPair, quick: boolean): Promise<void> {
  const { old, target, work } = pair;
  console.log(`\n${name}, by others`);
  for (const tool of TOOLS) {
    const isHeavy = Number.isFinite(tool.bytesMax);
    if (isHeavy && (quick || statSync(target).size > tool.bytesMax)) {
      const most = `more than ${tool.bytesMax / 1e6} MB`;
      console.log(`  ${tool.name.padEnd(24)}not run: ${quick ? '--quick' : most}`);
      continue;
    }
    const delta = path.join(work, 'peer.delta');
    const files = { old, target, delta, output: path.join(work, 'peer.output') };
    const make = await cost(tool.make(files));
    const use = await cost(tool.use(files));
    line(tool.name, statSync(delta).size, shown(make), `apply ${shown(use)}`);
  }
}

const MAKER = path.join(import.meta.dirname, 'delta-make.ts');

/** Measures making a delta of ours between two tars, and prints a line; returns its bytes. */
export async function measureOurs({ name, old, target, work }: PeerPair): Promise<number> {
  const folder = path.join(work, 'ours');
  mkdirSync(folder);
  const node = [process.execPath, '--disable-warning=ExperimentalWarning'];
  const make = await cost([...node, MAKER, folder, old, target]);
  const files = readdirSync(folder).map((file) => path.join(folder, file));
  const bytes = files.reduce((sum, file) => sum + statSync(file).size, 0);
  rmSync(folder, { recursive: true });
  console.log(`\n${name}`);
  line('Coracle', bytes, shown(make), '');
  return bytes;
}

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import path from 'node:path';
import { EngineGroup, Peak } from './accounting.ts';

/** A delta tool of Debian's: its command lines, by the files that they read and write. */
type Tool = {
  readonly name: string;
  readonly make: (files: Files) => readonly string[];
  readonly use: (files: Files) => readonly string[];
  /** Takes minutes and many times the file in memory: only for what is small enough. */
  readonly isHeavy: boolean;
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
    isHeavy: false,
  },
  {
    name: 'xdelta3 -9',
    make: ({ old, target, delta }) => [
      ...['xdelta3', '-9', '-f', '-B', '2147483648', '-e', '-s', old, target, delta],
    ],
    use: ({ old, delta, output }) => [
      ...['xdelta3', '-f', '-B', '2147483648', '-d', '-s', old, delta, output],
    ],
    isHeavy: false,
  },
  {
    name: 'zstd -19 --patch-from',
    make: ({ old, target, delta }) => [
      ...['zstd', '-q', '-f', '-19', '--long=29', `--patch-from=${old}`, target, '-o', delta],
    ],
    use: ({ old, delta, output }) => [
      ...['zstd', '-q', '-f', '-d', '--long=29', `--patch-from=${old}`, delta, '-o', output],
    ],
    isHeavy: true,
  },
  {
    name: 'bsdiff',
    make: ({ old, target, delta }) => ['bsdiff', old, target, delta],
    use: ({ old, delta, output }) => ['bspatch', old, output, delta],
    isHeavy: true,
  },
];

/** CPU seconds and peak RSS of a command with all that it starts. */
async function cost(command: readonly string[]): Promise<{ cpuSec: number; rssMb: number }> {
  using group = new EngineGroup('coracle-bench-peer');
  using peak = new Peak(() => group.memoryKb('Rss'), 50);
  const [program = '', ...args] = group.wrap(command);
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`${command.join(' ')}: ended with ${code}`);
  return { cpuSec: group.cpuMs() / 1e3, rssMb: peak.peak / 1024 };
}

/** Measures the delta tools on two files and prints a line for each; `all`: the heavy ones too. */
export async function measurePeers(options: {
  readonly name: string;
  readonly old: string;
  readonly target: string;
  readonly work: string;
  readonly all?: boolean;
}): Promise<void> {
  const { name, old, target, work } = options;
  console.log(`\n${name}, by others`);
  for (const tool of TOOLS) {
    if (tool.isHeavy && options.all !== true) continue;
    const delta = path.join(work, 'peer.delta');
    const files = { old, target, delta, output: path.join(work, 'peer.output') };
    const make = await cost(tool.make(files));
    const use = await cost(tool.use(files));
    const size = statSync(delta).size.toLocaleString('en');
    const [made, used] = [make, use].map(
      ({ cpuSec, rssMb }) => `${cpuSec.toFixed(1)} s, ${rssMb.toFixed(0)} MB`,
    );
    console.log(
      `  ${tool.name.padEnd(24)}${size.padStart(12)} bytes   create ${made}   apply ${used}`,
    );
  }
}

/** What a delta costs, against what must be reached, printed for people. */
export type Figures = Readonly<Record<string, number>>;
export type Format = 'coracle' | 'balena';

/** What must be reached: bytes, MB, seconds. */
type Target = Figures & {
  readonly size: number;
  readonly createSec: number;
  readonly applySec: number;
  readonly writtenMb: number;
};

/** By pair; an image of several layers is held against its pair's. */
const TARGETS: Readonly<Record<Format, Readonly<Record<string, Target>>>> = {
  coracle: {
    P1: { size: 10_000, createSec: 4, applySec: 0.9, writtenMb: 4 },
    P2: { size: 9_500_000, createSec: 60, applySec: 3, writtenMb: 185 },
    P5: { size: 15_000, createSec: 6, applySec: 2, writtenMb: 12 },
  },
  // What balenaEngine itself takes, for its own format.
  balena: {
    P1: { size: 40_156, createSec: 4, applySec: 0.9, writtenMb: 47 },
    P2: { size: 29_297_522, createSec: 25, applySec: 4.6, writtenMb: 205 },
    P5: { size: 315_227, createSec: 11, applySec: 4.7, writtenMb: 362 },
  },
};
const FOR_ALL: Readonly<Record<Format, Figures>> = {
  coracle: { createRssMb: 700, applyMb: 24 },
  balena: { createRssMb: 173, applyMb: 30 },
};

const LABELS: Readonly<Record<string, string>> = {
  size: 'size, bytes',
  createSec: 'create: CPU, s',
  createRssMb: 'create: peak RSS, MB',
  applySec: 'apply: CPU, s',
  applyMb: 'apply: memory above idle, MB',
  applyTextMb: '  with program text, MB',
  writtenMb: 'apply: written, MB',
  changedMb: '  new contents, MB',
  changedBlocksMb: '  the same in whole blocks, MB',
  knownBlocksMb: '  of these known blocks, MB',
};

function limitOf(pair: string, key: string, format: Format): number | undefined {
  return TARGETS[format][pair.split(' ')[0] ?? '']?.[key] ?? FOR_ALL[format][key];
}

function show(value: number | undefined): string {
  if (value === undefined) return '–';
  return value >= 1000 ? value.toLocaleString('en') : value.toFixed(value >= 100 ? 0 : 2);
}

/** All figures of one pair. */
export function print(pair: string, figures: Figures, format: Format): void {
  console.log(`\n${pair}${format === 'balena' ? ", in balenaEngine's format" : ''}`);
  for (const [key, label] of Object.entries(LABELS)) {
    const value = figures[key];
    const limit = limitOf(pair, key, format);
    const verdict =
      limit === undefined || value === undefined
        ? ''
        : `≤ ${show(limit)}  ${value <= limit ? 'reached' : 'MISSED'}`;
    console.log(`  ${label.padEnd(32)}${show(value).padStart(12)}   ${verdict}`);
  }
}

/** Coracle's own format, all pairs in one table. */
export function printTable(byPair: ReadonlyMap<string, Figures>): void {
  console.log(`\n| | ${[...byPair.keys()].join(' | ')} |`);
  console.log(`|---|${'---:|'.repeat(byPair.size)}`);
  for (const [key, label] of Object.entries(LABELS)) {
    const cells = Array.from(byPair, ([pair, figures]) => {
      const limit = limitOf(pair, key, 'coracle');
      const value = figures[key];
      const isMissed = limit !== undefined && value !== undefined && value > limit;
      const aim = limit === undefined ? '' : ` (≤ ${show(limit)}${isMissed ? ', MISSED' : ''})`;
      return `${show(value)}${aim}`;
    });
    console.log(`| ${label.trim()} | ${cells.join(' | ')} |`);
  }
}

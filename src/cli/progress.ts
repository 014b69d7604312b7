import { humanSize } from '../base/bytes.ts';
import { timeLeft } from '../policy/progress-bar.ts';
import type { ProgressDetail, ProgressMessage } from '../spec/docker/progress.ts';
import { type CliOutput, writeAll } from './context.ts';

/**
 * Shows a progress stream as Docker's client does: on a terminal one line for each ID, redrawn in
 * place; elsewhere a plain line for each change of status, and no bars.
 */

/** A bar has as many cells as there is room for. Where that is too few, numbers tell it all. */
const BAR_CELLS = 50;
const BAR_CELLS_MIN = 10;
/** `[`, `>] ` and the longest numbers: `1.234MB/123.4MB`. */
const BAR_FRAME = 3;
const NUMBERS_CHARS = 16;

function barOf(current: number, total: number, cells: number): string {
  const filled = Math.min(cells, Math.floor((current / total) * cells));
  const arrow = filled < cells ? '>' : '';
  return `[${'='.repeat(filled)}${arrow}${' '.repeat(Math.max(0, cells - filled - 1))}] `;
}

/** `[====>    ]   1.2MB/3.4MB` in so many columns; '' when there is nothing to tell. */
export function progressText(message: ProgressMessage, columns: number): string {
  const { current = 0, total = 0, units, hidecounts } = message.progressDetail ?? {};
  if (current <= 0 && total <= 0) return message.progress ?? '';
  const count = (value: number): string =>
    units === undefined || units === '' ? humanSize(value) : `${value}`;
  if (total <= 0) return units ? `${current} ${units}` : count(current);
  const cells = Math.min(BAR_CELLS, columns - BAR_FRAME - NUMBERS_CHARS);
  const hasBar = cells >= BAR_CELLS_MIN;
  const bar = hasBar ? barOf(current, total, cells) : '';
  if (hidecounts === true) return bar;
  const done = hasBar ? count(current).padStart(8) : count(current);
  // More than was announced: the announcement was wrong.
  if (current > total) return `${bar}${done}`;
  return `${bar}${done}/${count(total)}${units ? ` ${units}` : ''}`;
}

function lineOf(message: ProgressMessage, columns: number): string {
  const id = message.id === undefined || message.id === '' ? '' : `${message.id}: `;
  const start = `${id}${message.status ?? ''}`;
  const progress = progressText(message, columns - start.length - 1);
  return progress === '' ? start : `${start} ${progress}`;
}

/**
 * A whole pull or push in words, in so many columns: how much is through, how fast, and how long the
 * rest takes. `verb` is `Downloaded` or `Pushed`.
 */
export function wholeText(
  verb: string,
  { current, total, bytesPerSec }: NonNullable<ProgressDetail['whole']>,
  columns: number,
): string {
  const done = humanSize(current, 3);
  const all = humanSize(total, 3);
  const isStalled = bytesPerSec !== undefined && bytesPerSec < 1;
  const rate = bytesPerSec === undefined ? '' : `${humanSize(bytesPerSec, 3)}/s`;
  const left =
    bytesPerSec === undefined || isStalled ? '' : timeLeft((total - current) / bytesPerSec);
  const how = isStalled ? ', standing still' : rate === '' ? '' : ` at ${rate}, ${left} left`;
  const percent = `${Math.floor((current / Math.max(total, 1)) * 100)}%`;
  const texts = [
    `${verb} ${done} of ${all}${how}`,
    `${done} of ${all}${how}`,
    [`${done}/${all}`, rate, left].filter((part) => part !== '').join(' '),
    [percent, left].filter((part) => part !== '').join(' '),
  ];
  return texts.find((text) => text.length <= columns) ?? percent.slice(0, columns);
}

/** True for a message that only moves a bar. */
function isBar(message: ProgressMessage): boolean {
  const { current = 0, total = 0 } = message.progressDetail ?? {};
  return current > 0 || total > 0 || (message.progress ?? '') !== '';
}

const verbOf = ({ status }: ProgressMessage): string =>
  status === 'Pushing' ? 'Pushed' : 'Downloaded';

const UP = (lines: number): string => (lines > 0 ? `\x1b[${lines}A` : '');
const DOWN = (lines: number): string => (lines > 0 ? `\x1b[${lines}B` : '');
const CLEARED = '\r\x1b[2K';
/** How often a long transfer is told of where nothing can be redrawn. */
const PLAIN_MS = 30_000;

/** The lines of one stream on one output. */
export class ProgressView {
  readonly #output: CliOutput;
  readonly #nowMs: () => number;
  /** IDs from the top line down. */
  #ids: string[] = [];
  /** What stands below all lines, where the cursor is: all of a pull or push. */
  #foot = '';
  #plainMs: number;

  constructor(output: CliOutput, nowMs: () => number = () => performance.now()) {
    this.#output = output;
    this.#nowMs = nowMs;
    this.#plainMs = nowMs();
  }

  /** The text that shows one more message; '' for none. */
  render(message: ProgressMessage): string {
    if (this.#output.isTTY !== true) return this.#plain(message);
    const before = this.#foot;
    const { whole } = message.progressDetail ?? {};
    if (whole !== undefined) this.#foot = this.#footOf(verbOf(message), whole);
    const text = this.#live(message);
    if (text === '' && before === this.#foot) return '';
    return `${before === '' ? '' : CLEARED}${text}${this.#foot}`;
  }

  /** The text that leaves the output ready for other text. */
  end(): string {
    const isDrawn = this.#foot !== '';
    this.#foot = '';
    return isDrawn ? CLEARED : '';
  }

  #footOf(verb: string, whole: NonNullable<ProgressDetail['whole']>): string {
    const columns = (this.#output.columns ?? 80) - 1;
    return whole.current < whole.total ? wholeText(verb, whole, columns) : '';
  }

  #plain(message: ProgressMessage): string {
    if (message.stream !== undefined && message.stream !== '') return message.stream;
    if (message.status === undefined) return '';
    if (!isBar(message)) return `${lineOf(message, 0)}\n`;
    const { whole } = message.progressDetail ?? {};
    if (whole === undefined || this.#nowMs() - this.#plainMs < PLAIN_MS) return '';
    this.#plainMs = this.#nowMs();
    return `${wholeText(verbOf(message), whole, Number.POSITIVE_INFINITY)}\n`;
  }

  #live(message: ProgressMessage): string {
    if (message.stream !== undefined && message.stream !== '') return this.#above(message.stream);
    if (message.status === undefined) return '';
    const columns = this.#output.columns ?? 80;
    const { id } = message;
    if (id === undefined || id === '') {
      const text = lineOf(message, columns - 1);
      if (!isBar(message)) return this.#above(`${text}\n`);
      // It has no line of its own to be found again: it stands at the foot until the next text.
      this.#foot = text.slice(0, Math.max(1, columns - 1));
      return '';
    }
    // A line that wraps could not be found again: it is cut instead.
    const line = lineOf(message, columns - 1).slice(0, Math.max(1, columns - 1));
    const at = this.#ids.indexOf(id);
    if (at < 0) {
      this.#ids.push(id);
      return `${CLEARED}${line}\n`;
    }
    const up = this.#ids.length - at;
    // What has scrolled away cannot be drawn over.
    if (up >= (this.#output.rows ?? 24)) return '';
    return `${UP(up)}${CLEARED}${line}\r${DOWN(up)}`;
  }

  /** Text that stays, so lines drawn before it stay as they are. */
  #above(text: string): string {
    this.#ids = [];
    this.#foot = '';
    return text;
  }
}

/**
 * Shows all messages. What is auxiliary goes to `onAux`.
 * @throws what the stream throws: an error that the daemon reports in it
 */
export async function showProgress(
  messages: AsyncIterable<ProgressMessage>,
  output: CliOutput,
  onAux?: (aux: unknown) => void,
): Promise<void> {
  const view = new ProgressView(output);
  try {
    for await (const message of messages) {
      if (message.aux !== undefined) onAux?.(message.aux);
      const text = view.render(message);
      if (text !== '') await writeAll(output, text);
    }
  } finally {
    const text = view.end();
    if (text !== '') await writeAll(output, text);
  }
}

/** Takes a progress stream without showing it. @throws as {@link showProgress} */
export async function hideProgress(messages: AsyncIterable<ProgressMessage>): Promise<void> {
  for await (const _message of messages) {
    // Errors are thrown by the iteration.
  }
}

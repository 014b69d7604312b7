import { humanSize } from '../base/bytes.ts';
import type { ProgressMessage } from '../spec/docker/progress.ts';
import { type CliOutput, writeAll } from './context.ts';

/**
 * Shows a progress stream as Docker's client does: on a terminal one line for each ID, redrawn in
 * place; elsewhere a plain line for each change of status, and no bars.
 */

/** Terminals that are narrower get numbers without a bar. */
const BAR_FROM_COLUMNS = 110;
const BAR_CHARS = 50;

function barOf(current: number, total: number): string {
  const filled = Math.min(BAR_CHARS, Math.floor((current / total) * BAR_CHARS));
  const arrow = filled < BAR_CHARS ? '>' : '';
  return `[${'='.repeat(filled)}${arrow}${' '.repeat(Math.max(0, BAR_CHARS - filled - 1))}]  `;
}

/** `[====>    ]  1.2MB/3.4MB`; '' when there is nothing to tell. */
export function progressText(message: ProgressMessage, columns: number): string {
  const { current = 0, total = 0, units, hidecounts } = message.progressDetail ?? {};
  if (current <= 0 && total <= 0) return message.progress ?? '';
  const count = (value: number): string =>
    units === undefined || units === '' ? humanSize(value) : `${value}`;
  if (total <= 0) return units ? `${current} ${units}` : count(current);
  const bar = columns > BAR_FROM_COLUMNS ? barOf(current, total) : '';
  if (hidecounts === true) return bar;
  // More than was announced: the announcement was wrong.
  if (current > total) return `${bar}${count(current)}`;
  return `${bar}${count(current)}/${count(total)}${units ? ` ${units}` : ''}`;
}

function lineOf(message: ProgressMessage, columns: number): string {
  const id = message.id === undefined || message.id === '' ? '' : `${message.id}: `;
  const progress = progressText(message, columns);
  return `${id}${message.status ?? ''}${progress === '' ? '' : ` ${progress}`}`;
}

/** True for a message that only moves a bar. */
function isBar(message: ProgressMessage): boolean {
  const { current = 0, total = 0 } = message.progressDetail ?? {};
  return current > 0 || total > 0 || (message.progress ?? '') !== '';
}

const UP = (lines: number): string => (lines > 0 ? `\x1b[${lines}A` : '');
const DOWN = (lines: number): string => (lines > 0 ? `\x1b[${lines}B` : '');

/** The lines of one stream on one output. */
export class ProgressView {
  readonly #output: CliOutput;
  /** IDs from the top line down. */
  #ids: string[] = [];

  constructor(output: CliOutput) {
    this.#output = output;
  }

  /** The text that shows one more message; '' for none. */
  render(message: ProgressMessage): string {
    if (message.stream !== undefined && message.stream !== '') return this.#above(message.stream);
    if (message.status === undefined) return '';
    if (this.#output.isTTY !== true) {
      return isBar(message) ? '' : `${lineOf(message, 0)}\n`;
    }
    const columns = this.#output.columns ?? 80;
    const { id } = message;
    if (id === undefined || id === '') return this.#above(`${lineOf(message, columns)}\n`);
    // A line that wraps could not be found again: it is cut instead.
    const line = lineOf(message, columns).slice(0, Math.max(1, columns - 1));
    const at = this.#ids.indexOf(id);
    if (at < 0) {
      this.#ids.push(id);
      return `\r\x1b[2K${line}\n`;
    }
    const up = this.#ids.length - at;
    // What has scrolled away cannot be drawn over.
    if (up >= (this.#output.rows ?? 24)) return '';
    return `${UP(up)}\r\x1b[2K${line}\r${DOWN(up)}`;
  }

  /** Text that stays, so lines drawn before it stay as they are. */
  #above(text: string): string {
    this.#ids = [];
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
  for await (const message of messages) {
    if (message.aux !== undefined) onAux?.(message.aux);
    const text = view.render(message);
    if (text !== '') await writeAll(output, text);
  }
}

/** Takes a progress stream without showing it. @throws as {@link showProgress} */
export async function hideProgress(messages: AsyncIterable<ProgressMessage>): Promise<void> {
  for await (const _message of messages) {
    // Errors are thrown by the iteration.
  }
}

import { randomBytes } from 'node:crypto';
import { eventually, run, runOk } from './processes.ts';

/** A terminal with somebody before it: tmux draws what programs write, and types. */
export class Terminal implements AsyncDisposable {
  readonly #server = `coracle-${randomBytes(6).toString('hex')}`;

  async #tmux(...args: string[]): Promise<string> {
    return await runOk('tmux', ['-L', this.#server, ...args]);
  }

  /** A shell with these variables, in a screen of this size. */
  async open(
    env: Readonly<Record<string, string>>,
    size: { readonly columns: number; readonly rows: number },
  ): Promise<void> {
    const words = Object.entries({ ...env, PS1: 'ready> ' }).map(([key, v]) => `${key}=${v}`);
    const screen = ['-x', String(size.columns), '-y', String(size.rows)];
    const shell = ['env', '-u', 'ENV', ...words, 'sh'];
    await this.#tmux('-f', '/dev/null', 'new-session', '-d', ...screen, '--', ...shell);
    await this.shows(/^ready>$/);
  }

  /** Types a line. */
  async type(line: string): Promise<void> {
    await this.#tmux('send-keys', '-l', line);
    await this.#tmux('send-keys', 'Enter');
  }

  /** Presses a key by tmux's name: `C-c`. */
  async press(key: string): Promise<void> {
    await this.#tmux('send-keys', key);
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.#tmux('resize-window', '-x', String(columns), '-y', String(rows));
  }

  /** What is on the screen now, without what is blank at its end. */
  async screen(): Promise<string> {
    return (await this.#tmux('capture-pane', '-p')).trimEnd();
  }

  /** Waits until the screen matches, and gives it. */
  async shows(pattern: RegExp, timeoutMs = 15_000): Promise<string> {
    let last = '';
    const isShown = async (): Promise<string | undefined> => {
      last = await this.screen();
      return pattern.test(last) ? last : undefined;
    };
    return await eventually(isShown, { what: String(pattern), timeoutMs }).catch(
      (cause: unknown) => {
        throw new Error(`${pattern} is not on the screen:\n${last}`, { cause });
      },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run('tmux', ['-L', this.#server, 'kill-server']);
  }
}

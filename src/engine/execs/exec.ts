import type { Latch } from '../../base/async.ts';
import type { ExecId } from '../../base/id.ts';
import { LIMITS } from '../../base/limits.ts';
import type { Shim } from '../../kernel/shim.ts';
import type { ExecConfig } from '../../spec/docker/container.ts';
import type { Container } from '../containers/container.ts';

/**
 * A process that is, was or will be run beside a container's own. The exec root has a record of it
 * (`exec-records.ts`), so that the next daemon knows it too; a reboot voids it.
 */
export type Exec = {
  readonly id: ExecId;
  readonly container: Container;
  /** A healthcheck's: no event tells of it, and it has no record. */
  readonly isProbe: boolean;
  readonly config: ExecConfig;
  /** `created` until someone starts it, which can be done once. */
  state: 'created' | 'starting' | 'running' | 'ended';
  /** Of the start that is under way: open when it has come to its end. */
  begun?: Latch<void>;
  shim: Shim | undefined;
  pid: number;
  /** Undefined until it has ended. */
  exitCode: number | undefined;
};

/** The execs there are. The oldest that do not run are forgotten beyond a limit. */
export class Execs {
  readonly #byId = new Map<string, Exec>();

  find(id: string): Exec | undefined {
    return this.#byId.get(id);
  }

  /** Returns those that are forgotten for it. */
  add(exec: Exec): Exec[] {
    this.#byId.set(exec.id, exec);
    exec.container.execIds.add(exec.id);
    let excess = this.#byId.size - LIMITS.execsKeptMax;
    const forgotten: Exec[] = [];
    for (const each of this.#byId.values()) {
      if (excess <= 0) break;
      const runs = each.state === 'starting' || each.state === 'running';
      if (each === exec || (runs && each.container.run !== undefined)) continue;
      this.delete(each);
      forgotten.push(each);
      excess -= 1;
    }
    return forgotten;
  }

  delete(exec: Exec): void {
    this.#byId.delete(exec.id);
    exec.container.execIds.delete(exec.id);
  }

  /** Forgets all of a container that is gone. */
  forget(container: Container): void {
    for (const id of container.execIds) this.#byId.delete(id);
    container.execIds.clear();
  }
}

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { errnoOf, messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { sealBinary, unsealBinary } from '../../kernel/sealed-binary.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import type { RuntimeSeccomp, RuntimeSpec } from '../../spec/oci/runtime.ts';

/** crun loads this filter (base64) instead of compiling the spec's; see crun(1). */
const COMPILED_FILTER = 'run.oci.seccomp_bpf_data';
/** Where crun leaves what it compiled, in the container's folder of its state. */
const FILTER_FILE = 'seccomp.bpf';
/** The kernel's limit: 4096 instructions of 8 bytes (BPF_MAXINSNS). */
const FILTER_BYTES_MAX = 4096 * 8;

/**
 * What makes calling a runtime again and again cheap: of the 15 ms CPU of a `crun run`, 8 go into
 * compiling the same seccomp filter, and 2 into copying its own executable.
 */
export class RuntimeCache implements Disposable {
  readonly #sys: Syscalls;
  readonly #folder: string;
  readonly #log: Logger;
  /** By the path in the configuration. */
  readonly #executables = new Map<string, string>();
  /** By the filter itself: the built-in ones are the same object each time. */
  readonly #filters = new WeakMap<RuntimeSeccomp, string>();
  /** Filters that a runtime is compiling, by container. */
  readonly #compiling = new Map<string, RuntimeSeccomp>();

  /** `execRoot` is absolute. */
  constructor(parts: { readonly sys: Syscalls; readonly execRoot: string; readonly log: Logger }) {
    this.#sys = parts.sys;
    this.#folder = path.join(parts.execRoot, 'bin');
    this.#log = parts.log;
  }

  /** Where to run a runtime from, so that it need not copy itself. */
  executable(runtime: string): string {
    // Others may be scripts that look at their own path.
    if (!/^(?:crun|runc)$/.test(path.basename(runtime))) return runtime;
    const known = this.#executables.get(runtime);
    if (known !== undefined) return known;
    const executable = this.#seal(runtime);
    this.#executables.set(runtime, executable);
    return executable;
  }

  #seal(runtime: string): string {
    try {
      // Several runtimes may have one base name.
      const folder = path.join(this.#folder, String(this.#executables.size));
      return sealBinary(this.#sys, runtime, folder);
    } catch (error) {
      this.#log.debug(`runtime ${runtime} is called as it is`, { error: messageOf(error) });
      return runtime;
    }
  }

  /**
   * The spec with its seccomp filter compiled, once {@link RuntimeCache.started} has seen it. The
   * uncompiled one stays in it: another version of the runtime may know nothing of the annotation.
   */
  withCompiledFilter(containerId: string, runtime: string, spec: RuntimeSpec): RuntimeSpec {
    const { seccomp } = spec.linux;
    if (seccomp === undefined || path.basename(runtime) !== 'crun') return spec;
    const compiled = this.#filters.get(seccomp);
    if (compiled === undefined) {
      this.#compiling.set(containerId, seccomp);
      return spec;
    }
    return { ...spec, annotations: { ...spec.annotations, [COMPILED_FILTER]: compiled } };
  }

  /** The container has started; `stateFolder` is the runtime's folder of it. */
  started(containerId: string, stateFolder: string): void {
    const seccomp = this.#compiling.get(containerId);
    if (seccomp === undefined) return;
    this.#compiling.delete(containerId);
    try {
      const filter = readFileSync(path.join(stateFolder, FILTER_FILE));
      const isWhole = filter.length > 0 && filter.length % 8 === 0;
      if (!isWhole || filter.length > FILTER_BYTES_MAX) return;
      this.#filters.set(seccomp, filter.toString('base64'));
    } catch (error) {
      // Another version may keep it elsewhere.
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  }

  /** It did not start. */
  failed(containerId: string): void {
    this.#compiling.delete(containerId);
  }

  [Symbol.dispose](): void {
    for (const [runtime, executable] of this.#executables) {
      if (executable !== runtime) unsealBinary(this.#sys, executable);
    }
    this.#executables.clear();
  }
}

import type { Variables } from '../word-expansion.ts';

/**
 * Build arguments: what ARG declares and `--build-arg` sets. Source: Dockerfile reference, "ARG",
 * "Predefined ARGs"; rules of moby `builder/dockerfile/buildargs.go`.
 */

/** Those that need no ARG, and leave no mark in the image's history. */
const PREDEFINED = ['HTTP_PROXY', 'HTTPS_PROXY', 'FTP_PROXY', 'NO_PROXY', 'ALL_PROXY'].flatMap(
  (name) => [name, name.toLowerCase()],
);
const predefined: ReadonlySet<string> = new Set(PREDEFINED);

/** The arguments of one build, seen from its global part or from one stage. */
export class BuildArguments {
  /** `--build-arg`; null for one that has no value. */
  readonly #given: Readonly<Record<string, string | null>>;
  readonly #global: Map<string, string | undefined>;
  readonly #referenced: Set<string>;
  readonly #allowed = new Map<string, string | undefined>();

  constructor(
    given: Readonly<Record<string, string | null>>,
    shared?: { readonly global: Map<string, string | undefined>; readonly referenced: Set<string> },
  ) {
    this.#given = given;
    this.#global = shared?.global ?? new Map();
    this.#referenced = shared?.referenced ?? new Set();
  }

  /** For one more stage: it sees global arguments that it declares anew, and no others. */
  forStage(): BuildArguments {
    return new BuildArguments(this.#given, { global: this.#global, referenced: this.#referenced });
  }

  /** ARG in a stage. */
  declare(name: string, value: string | undefined): void {
    this.#allowed.set(name, value);
    this.#referenced.add(name);
  }

  /** ARG before the first FROM. */
  declareGlobal(name: string, value: string | undefined): void {
    this.declare(name, value);
    this.#global.set(name, value);
  }

  /** What FROM lines see. */
  globals(): Variables {
    return this.#valuesOf(this.#global);
  }

  /** What instructions of the stage see beside the environment, which wins. */
  visible(env: Variables): Map<string, string> {
    const values = this.#valuesOf(this.#allowed);
    for (const name of env.keys()) values.delete(name);
    return values;
  }

  /** Those that a RUN's history names: `|1 A=x`. They decide about its cache. */
  marked(visible: Variables): string[] {
    return [...visible]
      .filter(([name]) => this.#allowed.has(name) || !predefined.has(name))
      .map(([name, value]) => `${name}=${value}`)
      .sort();
  }

  /** Given arguments that nothing declared. */
  unused(): string[] {
    return Object.keys(this.#given)
      .filter((name) => !this.#referenced.has(name) && !predefined.has(name))
      .sort();
  }

  #valuesOf(source: ReadonlyMap<string, string | undefined>): Map<string, string> {
    const values = new Map<string, string>();
    for (const name of [...source.keys(), ...PREDEFINED]) {
      const given = Object.hasOwn(this.#given, name) ? this.#given[name] : undefined;
      const value = given ?? source.get(name) ?? this.#global.get(name);
      if (value !== undefined) values.set(name, value);
    }
    return values;
  }
}

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../../base/errors.ts';
import { type Decoded, decodeJson, int, nullable, struct } from '../../spec/decode.ts';
import { execConfig } from '../../spec/docker/container.ts';
import type { Container } from '../containers/container.ts';
import { containerPaths } from '../containers/paths.ts';
import type { Engine } from '../engine.ts';
import type { Exec } from './exec.ts';

/**
 * What of execs the next daemon must find, in the exec root: `exec/ID/exec.json`, beside what the
 * exec's shim has there while it runs. So a client learns its exit code from a daemon that did not
 * start it. Probes of healthchecks leave no record: the next daemon makes its own.
 */

const RECORD = 'exec.json';

const execRecord = struct('Exec', {
  config: execConfig,
  /** Null until it has ended. */
  exitCode: nullable(int),
});
type ExecRecord = Decoded<typeof execRecord>;

type Context = Pick<Engine, 'dataRoot' | 'execRoot'>;

/** The folder of an exec. */
export function execFolder(engine: Context, container: Container, id: string): string {
  return path.join(containerPaths(engine, container.id).execs, id);
}

/** Writes an exec down. Readers see the old record or the new one. */
export function saveExec(engine: Context, exec: Exec): void {
  const folder = execFolder(engine, exec.container, exec.id);
  const record: ExecRecord = { config: exec.config, exitCode: exec.exitCode ?? null };
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(path.join(folder, 'exec.new'), JSON.stringify(record), { mode: 0o600 });
  renameSync(path.join(folder, 'exec.new'), path.join(folder, RECORD));
}

/** Takes away what a run of an exec left; its record stays. */
export function clearExec(engine: Context, exec: Exec): void {
  const folder = execFolder(engine, exec.container, exec.id);
  for (const name of readdirSync(folder)) {
    if (name !== RECORD) rmSync(path.join(folder, name), { recursive: true, force: true });
  }
}

/** Takes an exec's folder away, and its record with it. */
export function forgetExec(engine: Context, exec: Exec): void {
  rmSync(execFolder(engine, exec.container, exec.id), { recursive: true, force: true });
}

/** Undefined for one without a record. @throws invalidArgument when it is not what this engine wrote */
export function readExec(
  engine: Context,
  container: Container,
  id: string,
): ExecRecord | undefined {
  const file = path.join(execFolder(engine, container, id), RECORD);
  try {
    return decodeJson(execRecord, readFileSync(file, 'utf8'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** IDs of the execs that left something in a container's folder. */
export function listExecs(engine: Context, container: Container): string[] {
  try {
    return readdirSync(containerPaths(engine, container.id).execs);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

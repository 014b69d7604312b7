import { messageOf } from '../../base/errors.ts';
import type { ExecId } from '../../base/id.ts';
import { openProcess } from '../../kernel/process-handle.ts';
import { SIGKILL } from '../../policy/signals.ts';
import { execConfig } from '../../spec/docker/container.ts';
import type { Container } from '../containers/container.ts';
import type { Engine } from '../engine.ts';
import type { Exec } from './exec.ts';
import {
  clearExec,
  execFolder,
  forgetExec,
  listExecs,
  readExec,
  saveExec,
} from './exec-records.ts';
import { superviseExec, UNKNOWN_EXIT_CODE } from './run-exec.ts';

/** Takes over what earlier daemons' execs in a container have come to. */
export async function restoreExecs(engine: Engine, container: Container): Promise<void> {
  for (const id of listExecs(engine, container)) {
    try {
      await restoreExec(engine, container, id);
    } catch (error) {
      engine.log.warn('cannot take an exec over', { exec: id, error: messageOf(error) });
    }
  }
}

async function restoreExec(engine: Engine, container: Container, id: string): Promise<void> {
  const record = readExec(engine, container, id);
  const exec: Exec = {
    id: id as ExecId,
    container,
    isProbe: record === undefined,
    config: record?.config ?? execConfig.zero(),
    state: 'created',
    shim: undefined,
    pid: 0,
    exitCode: record?.exitCode ?? undefined,
  };
  const folder = execFolder(engine, container, id);
  const found = exec.exitCode === undefined ? await engine.shims.reconnect(folder) : undefined;
  if (exec.isProbe) {
    // Nobody waits for it any more.
    if (found?.state === 'running') killProcess(engine, found.pid);
    forgetExec(engine, exec);
    return;
  }
  if (found?.state === 'running') {
    exec.state = 'running';
    exec.shim = found.shim;
    exec.pid = found.pid;
    superviseExec(engine, exec, found.shim);
  } else if (found?.state === 'unstarted') {
    clearExec(engine, exec);
  } else {
    exec.state = 'ended';
    exec.exitCode ??= found?.status.exitCode ?? UNKNOWN_EXIT_CODE;
    saveExec(engine, exec);
    clearExec(engine, exec);
  }
  engine.containers.execs.add(exec);
}

function killProcess(engine: Engine, pid: number): void {
  const process = openProcess(engine.sys, pid);
  process.signal(SIGKILL);
  process.close();
}

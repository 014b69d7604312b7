import { messageOf } from '../../base/errors.ts';
import type { ExecId } from '../../base/id.ts';
import { execConfig } from '../../spec/docker/container.ts';
import type { Container } from '../containers/container.ts';
import { killProcess } from '../containers/runtime.ts';
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
import { exitCodeWithoutShim, superviseExec } from './run-exec.ts';

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
    if (found !== undefined && 'pid' in found) killProcess(engine, container, found.pid);
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
    if (found?.state === 'exited') exec.exitCode = found.status.exitCode;
    if (found?.state === 'lost') {
      exec.exitCode = exitCodeWithoutShim(engine, { container, pid: found.pid });
    }
    saveExec(engine, exec);
    clearExec(engine, exec);
  }
  engine.containers.execs.add(exec);
}

import { execFile } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { conflict, internal, invalidArgument, messageOf } from '../../base/errors.ts';
import { liftLimits } from '../../kernel/cgroup.ts';
import { checkRestartPolicy } from '../../policy/host-config.ts';
import { updatedResources } from '../../policy/resource-update.ts';
import { checkResources, runtimeResources } from '../../policy/resources.ts';
import type { HostConfig, Resources, UpdateRequest } from '../../spec/docker/container.ts';
import type { ContainerUpdateResult } from '../../spec/docker/container-view.ts';
import type { Engine } from '../engine.ts';
import { type Container, lockOf } from './container.ts';
import { blockDeviceAt } from './devices.ts';
import { containerEvent } from './events.ts';
import { containerPaths } from './paths.ts';
import { saveDocument } from './persistence.ts';
import { cgroupOf, RUNTIME_LIMITS, runtimeOf } from './runtime.ts';

/**
 * Changes limits and restart policy of a container, also while it runs.
 * @throws invalidArgument, conflict in Docker's words; nothing has changed then
 */
export async function containerUpdate(
  engine: Engine,
  args: { readonly params: { readonly id: string }; readonly body: UpdateRequest },
): Promise<ContainerUpdateResult> {
  const container = engine.containers.get(args.params.id);
  return await engine.locks.run(lockOf(container), () => update(engine, container, args.body));
}

async function update(
  engine: Engine,
  container: Container,
  body: UpdateRequest,
): Promise<ContainerUpdateResult> {
  const { RestartPolicy, ...change } = body;
  const before = container.document.hostConfig;
  if (container.removing || container.dead) {
    throw conflict(
      `Cannot update container ${container.id}: Container is marked for removal and cannot be "update".`,
    );
  }
  const isNewPolicy = RestartPolicy.Name !== '';
  if (isNewPolicy) {
    checkRestartPolicy(RestartPolicy);
    if (before.AutoRemove && RestartPolicy.Name !== 'no') {
      throw invalidArgument(
        `Cannot update container ${container.id}: Restart policy cannot be updated because AutoRemove is enabled for the container`,
      );
    }
  }
  // What is sent is checked by itself first: a limit of 0 bytes more than nothing is an error.
  checkResources(change, engine.host.resources);
  const merged = updatedResources(before, change);
  const { resources, warnings } = checkResources(merged, engine.host.resources);
  const hostConfig: HostConfig = {
    ...before,
    ...resources,
    ...(isNewPolicy ? { RestartPolicy } : {}),
  };
  if (container.run !== undefined) await apply(engine, container, resources);
  saveDocument(engine, container, { ...container.document, hostConfig });
  containerEvent(engine, container, 'update');
  return { Warnings: warnings };
}

/** Changes the limits of the running container's cgroup, which the runtime knows best. */
async function apply(engine: Engine, container: Container, resources: Resources): Promise<void> {
  const runtime = runtimeOf(engine, container);
  const file = path.join(containerPaths(engine, container.id).run, 'resources.json');
  writeFileSync(file, JSON.stringify(runtimeResources(resources, blockDeviceAt)), { mode: 0o600 });
  try {
    const words = [...runtime.args, 'update', '--resources', file, container.id];
    await promisify(execFile)(runtime.path, words, RUNTIME_LIMITS);
    liftLimits(engine.host.cgroups, cgroupOf(engine, container).folder, {
      pids: resources.PidsLimit !== null && resources.PidsLimit <= 0,
      cpuQuota: resources.CpuQuota < 0,
    });
  } catch (cause) {
    const said = (cause as { stderr?: string }).stderr?.trim() || messageOf(cause);
    // What the kernel does not take of a value that is one is the caller's to change.
    const make = /: invalid argument"?$/i.test(said) ? invalidArgument : internal;
    throw make(`Cannot update container ${container.id}: ${said}`, { cause });
  } finally {
    rmSync(file, { force: true });
  }
}

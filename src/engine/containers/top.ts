import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { conflict, internal, invalidArgument, messageOf } from '../../base/errors.ts';
import { cgroupPids } from '../../kernel/cgroup.ts';
import { filterPs, psArguments } from '../../policy/ps-table.ts';
import type { ContainerTopResult } from '../../spec/docker/container-view.ts';
import type { Engine } from '../engine.ts';
import { containerEvent } from './events.ts';
import { cgroupOf } from './runtime.ts';

const PS_OUTPUT_BYTES_MAX = 8 << 20;
const PS_TIMEOUT_MS = 10_000;

/** The container's processes as the host's ps shows them. @throws conflict when it does not run */
export async function containerTop(
  engine: Engine,
  args: { readonly params: { readonly id: string }; readonly query: { readonly ps_args: string } },
): Promise<ContainerTopResult> {
  const container = engine.containers.get(args.params.id);
  const words = psArguments(args.query.ps_args);
  if (container.restart !== undefined) {
    throw conflict(`Container ${container.id} is restarting, wait until the container is running`);
  }
  if (container.run === undefined) throw conflict(`container ${container.id} is not running`);
  const pids = new Set(cgroupPids(engine.host.cgroups, cgroupOf(engine, container).folder));
  let output: string;
  try {
    const options = { maxBuffer: PS_OUTPUT_BYTES_MAX, timeout: PS_TIMEOUT_MS };
    output = (await promisify(execFile)('ps', words, options)).stdout;
  } catch (cause) {
    const { stderr, code } = cause as { readonly stderr?: string; readonly code?: unknown };
    // With a code of its own it did run, and did not like its words.
    const make = typeof code === 'number' ? invalidArgument : internal;
    throw make(`error running ps: ${stderr?.trim() || messageOf(cause).trim()}`, { cause });
  }
  const table = filterPs(output, pids);
  containerEvent(engine, container, 'top');
  return table;
}

import { once } from 'node:events';
import type { Socket } from 'node:net';
import { StringDecoder } from 'node:string_decoder';
import { deferred } from '../../base/async.ts';
import { shortId } from '../../base/digest.ts';
import { internal, invalidArgument, messageOf } from '../../base/errors.ts';
import type { Instruction } from '../../formats/dockerfile.ts';
import { StdcopyReader } from '../../formats/stdcopy.ts';
import { commandLine } from '../../policy/image-changes.ts';
import { variablesOf } from '../../policy/word-expansion.ts';
import { type CreateRequest, createRequest, healthConfig } from '../../spec/docker/container.ts';
import type { StagedLayer } from '../../store/layer-store.ts';
import { type Container, type Ending, lockOf } from '../containers/container.ts';
import { containerCreate } from '../containers/create.ts';
import { withDiff } from '../containers/filesystem.ts';
import { saveDocument } from '../containers/persistence.ts';
import { removeNow } from '../containers/remove.ts';
import { startContainer } from '../containers/start.ts';
import type { Engine } from '../engine.ts';
import { useCache } from './cache.ts';
import { commitStep } from './commit-step.ts';
import { type BuildSession, type BuildStage, say } from './session.ts';
import { withPlace } from './trees.ts';

/** A container with this label is a build's, and goes when the build cannot take it away itself. */
const BUILD_LABEL = 'coracle.build';

/** RUN: a command in a container of the image so far; what it changes is the step's layer. */
export async function runStep(
  session: BuildSession,
  stage: BuildStage,
  instruction: Instruction,
): Promise<void> {
  const { config } = stage;
  const command = commandLine(config, instruction.rest);
  const visible = stage.args.visible(variablesOf(config.Env));
  const marks = stage.args.marked(visible);
  const saved = visible.size === 0 ? command : [`|${marks.length}`, ...marks, ...command];
  const made = { ...config, Cmd: saved, Entrypoint: null };
  if (await useCache(session, stage, made)) return;
  if (stage.image === undefined) {
    throw invalidArgument('RUN needs files to run: an empty image has none');
  }
  const Env = [...config.Env, ...[...visible].map(([name, value]) => `${name}=${value}`)];
  const container = await makeContainer(session, stage, { command, Env });
  const { options } = session;
  let isDone = false;
  try {
    const layer = await runIn(session, container, command);
    isDone = true;
    if (options.rm) await removeStepContainer(session, container);
    await commitStep(session, stage, { made, layer, containerId: container.id });
  } finally {
    if (!isDone) await afterFailure(session, container);
    else if (!options.rm) keepContainer(session.engine, container);
  }
}

async function makeContainer(
  session: BuildSession,
  stage: BuildStage,
  { command, Env }: { readonly command: readonly string[]; readonly Env: readonly string[] },
): Promise<Container> {
  const { engine, call } = session;
  const body: CreateRequest = {
    ...createRequest.zero(),
    ...stage.config,
    Image: stage.image?.id ?? '',
    ...{ Cmd: [...command], Entrypoint: [''], Env: [...Env] },
    ...{ AttachStdout: true, AttachStderr: true, OpenStdin: false, StdinOnce: false, Tty: false },
    Healthcheck: { ...healthConfig.zero(), Test: ['NONE'] },
    Labels: { ...stage.config.Labels, [BUILD_LABEL]: '1' },
    HostConfig: hostConfigOf(session),
  };
  const { Id, Warnings } = await containerCreate(
    engine,
    { query: { name: '', platform: '' }, body },
    call,
  );
  for (const warning of Warnings) say(session, ` ---> [Warning] ${warning}\n`);
  say(session, ` ---> Running in ${shortId(Id)}\n`);
  return engine.containers.get(Id);
}

function hostConfigOf({ options }: BuildSession): CreateRequest['HostConfig'] {
  return {
    ...createRequest.zero().HostConfig,
    NetworkMode: options.networkmode,
    Memory: options.memory ?? 0,
    MemorySwap: options.memswap ?? 0,
    CpuShares: options.cpushares ?? 0,
    CpuPeriod: options.cpuperiod ?? 0,
    CpuQuota: options.cpuquota ?? 0,
    CpusetCpus: options.cpusetcpus,
    CpusetMems: options.cpusetmems,
    CgroupParent: options.cgroupparent,
    ShmSize: options.shmsize ?? 0,
    Ulimits: options.ulimits.length === 0 ? null : [...options.ulimits],
    ExtraHosts: options.extrahosts.length === 0 ? null : [...options.extrahosts],
    // The client gets the output; nobody asks for it later.
    LogConfig: { Type: 'none', Config: {} },
  };
}

/** Runs the container to its end. @throws with the exit code in `detail.code` when it fails */
async function runIn(
  session: BuildSession,
  container: Container,
  command: readonly string[],
): Promise<StagedLayer> {
  const { engine, worker, call } = session;
  const output = showOutput(session, container);
  const { ending } = container;
  await engine.locks.run(lockOf(container), () =>
    startContainer(engine, container, { by: 'user' }),
  );
  const { exitCode, error }: Ending = await ending.wait(call.signal);
  await output;
  if (exitCode !== 0) {
    const why = error === '' ? '' : `: ${error}`;
    throw internal(
      `The command '${command.join(' ')}' returned a non-zero code: ${exitCode}${why}`,
      { detail: { code: exitCode } },
    );
  }
  return await withDiff(engine, container, (diff) =>
    withPlace(diff.merged, (merged) => worker.layer({ of: { ...diff, merged } })),
  );
}

/** Passes on what the container writes, as fast as the client takes it. */
async function showOutput(session: BuildSession, container: Container): Promise<void> {
  const { promise, resolve } = deferred<Socket | undefined>();
  container.earlyClients.add({
    streams: { stdin: false, stdout: true, stderr: true },
    connect: resolve,
    cancel: () => resolve(undefined),
  });
  const socket = await promise;
  if (socket === undefined) return;
  const closed = once(socket, 'close');
  try {
    await passOn(session, socket);
  } catch (error) {
    // The shim is gone with its container: how that ended is told elsewhere.
    session.engine.log.debug('the output of a build was cut', { error: messageOf(error) });
  } finally {
    socket.destroy();
    await closed;
  }
}

async function passOn(session: BuildSession, socket: Socket): Promise<void> {
  const reader = new StdcopyReader();
  const decoders = { stdout: new StringDecoder('utf8'), stderr: new StringDecoder('utf8') };
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    for (const { stream, bytes } of reader.push(chunk)) {
      const isError = stream === 'stderr';
      const text = decoders[isError ? 'stderr' : 'stdout'].write(bytes);
      // Docker shows it in red.
      if (text !== '') say(session, isError ? `\x1b[91m${text}\x1b[0m` : text);
    }
    await session.call.ready?.();
  }
}

async function removeStepContainer(session: BuildSession, container: Container): Promise<void> {
  await removeNow(session.engine, container, { force: true, removeVolumes: true });
  say(session, `Removing intermediate container ${shortId(container.id)}\n`);
}

/** A container whose step failed stays to be looked at, unless `forcerm` is set or nobody is there to look. */
async function afterFailure(session: BuildSession, container: Container): Promise<void> {
  const { engine, options, call } = session;
  for (const client of container.earlyClients) client.cancel();
  container.earlyClients.clear();
  if (options.forcerm || call.signal.aborted) await removeStepContainer(session, container);
  else if (!container.isRunning) keepContainer(engine, container);
  else await removeStepContainer(session, container);
}

/** It is the user's from now on. */
function keepContainer(engine: Engine, container: Container): void {
  const { document } = container;
  const { [BUILD_LABEL]: _ours, ...Labels } = document.config.Labels;
  saveDocument(engine, container, { ...document, config: { ...document.config, Labels } });
}

/** At start: takes away what builds left that were cut off with the daemon. */
export async function sweepBuilds(engine: Engine): Promise<void> {
  for (const container of engine.containers.list()) {
    if (!Object.hasOwn(container.document.config.Labels, BUILD_LABEL)) continue;
    engine.log.info('removing the container of a build that was cut off', { id: container.id });
    try {
      await removeNow(engine, container, { force: true, removeVolumes: true });
    } catch (error) {
      engine.log.error('cannot remove the container of a build', {
        ...{ id: container.id, error: messageOf(error) },
      });
    }
  }
}

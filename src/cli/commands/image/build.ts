import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { humanSize } from '../../../base/bytes.ts';
import { isEngineError, messageOf } from '../../../base/errors.ts';
import type { ProgressMessage } from '../../../spec/docker/progress.ts';
import { openContext } from '../../build/context.ts';
import { type CommandInput, defineCommand, exactly } from '../../command.ts';
import { hostOf } from '../../connection.ts';
import { writeAll } from '../../context.ts';
import { allCredentials } from '../../credentials.ts';
import { EXIT, ExitError } from '../../exit.ts';
import { bool, integer, list, splitPair, text, values } from '../../flags.ts';
import { showProgress } from '../../progress.ts';
import { size } from '../../run/flags.ts';
import { proxyEnvironment } from '../../run/proxies.ts';
import { checkAddHost, checkLabel, parseUlimit } from '../../run/values.ts';
import type { Session } from '../../session.ts';

const flags = {
  'add-host': list('', 'Host name and address for /etc/hosts (host:ip)', { item: checkAddHost }),
  'build-arg': list('', 'Build arguments'),
  'cache-from': list('', 'Images whose steps may be used again'),
  'cgroup-parent': text('', 'Control group above those of the containers'),
  compress: bool('', 'Compress the build context'),
  'cpu-period': integer('', 'Length of a period of the CPU quota in microseconds'),
  'cpu-quota': integer('', 'CPU time in a period in microseconds'),
  'cpu-shares': integer('c', 'Share of CPU time'),
  'cpuset-cpus': text('', 'CPUs to run on (0-3, 0,1)'),
  'cpuset-mems': text('', 'Memory nodes to use (0-3, 0,1)'),
  'disable-content-trust': bool('', 'No signatures are verified', { initial: true, hidden: true }),
  file: text('f', "Name of the Dockerfile; '-' is standard input (default 'PATH/Dockerfile')"),
  'force-rm': bool('', 'Remove the containers of failed steps too'),
  iidfile: text('', "File to write the image's ID to"),
  label: list('', 'Labels of the image', { item: checkLabel }),
  memory: size('m', 'Memory limit'),
  'memory-swap': size('', "Memory and swap together; '-1' for unlimited swap", { unlimited: true }),
  network: text('', 'Network of RUN instructions', { initial: 'default' }),
  'no-cache': bool('', 'Carry out every step'),
  platform: text('', 'Platform of the base images (os[/arch[/variant]])'),
  pull: bool('', 'Look for newer base images'),
  quiet: bool('q', "Show nothing but the image's ID"),
  rm: bool('', 'Remove the containers of steps', { initial: true }),
  'shm-size': size('', 'Size of /dev/shm'),
  squash: bool('', 'Make one layer of all new ones', { hidden: true }),
  tag: list('t', "Name of the image ('name:tag')"),
  target: text('', 'Stage to build'),
  ulimit: values('', 'Resource limits (type=soft[:hard])', {
    type: 'ulimit',
    shownDefault: '[]',
    item: parseUlimit,
  }),
};

export const command = defineCommand({
  use: '[OPTIONS] PATH | URL | -',
  args: exactly(1),
  flags,
  run: async (session, input) => {
    const [place = ''] = input.args;
    const { iidfile, quiet } = input.flags;
    const idFile = iidfile === '' ? undefined : path.resolve(session.context.cwd, iidfile);
    if (idFile !== undefined) await rm(idFile, { force: true });
    const isRemote = /^(?:https?|git):\/\/|^git@|^github\.com\//.test(place);
    const context = isRemote ? undefined : await openContext(session, place, input.flags.file);
    const body = context && counted(session, context.body, quiet);
    const client = await session.client();
    const messages = await client.imageBuild({
      query: await queryOf(session, input, context?.dockerfile, isRemote ? place : ''),
      headers: { registryConfig: await allCredentials(session) },
      ...(body === undefined ? {} : { body: input.flags.compress ? await packed(body) : body }),
    });
    const id = quiet ? await showQuietly(session, messages) : await show(session, messages);
    if (idFile !== undefined) await writeFile(idFile, id);
    return undefined;
  },
});

type Input = CommandInput<typeof flags>;

async function queryOf(
  session: Session,
  { flags }: Input,
  dockerfile: string | undefined,
  remote: string,
) {
  return {
    ...{ dockerfile: dockerfile ?? flags.file, remote, t: flags.tag, q: flags.quiet },
    ...{ nocache: flags['no-cache'], cachefrom: [...flags['cache-from']], pull: flags.pull },
    ...{ rm: flags.rm, forcerm: flags['force-rm'], squash: flags.squash },
    ...{ memory: flags.memory, memswap: flags['memory-swap'], shmsize: flags['shm-size'] },
    ...{ cpushares: flags['cpu-shares'], cpuperiod: flags['cpu-period'] },
    ...{ cpuquota: flags['cpu-quota'], cpusetcpus: flags['cpuset-cpus'] },
    ...{ cpusetmems: flags['cpuset-mems'], cgroupparent: flags['cgroup-parent'] },
    ...{ ulimits: [...flags.ulimit], extrahosts: flags['add-host'] },
    buildargs: await buildArguments(session, flags['build-arg']),
    labels: Object.fromEntries(flags.label.map(splitPair)),
    ...{ networkmode: flags.network, platform: flags.platform, target: flags.target },
    version: '1',
  };
}

/** One without a value has that of the environment here, or none. */
async function buildArguments(
  session: Session,
  given: readonly string[],
): Promise<Record<string, string | null>> {
  const { proxies } = (await session.config()).settings;
  const all = [
    ...proxyEnvironment(proxies, hostOf(session.context, session.globals), given),
    ...given,
  ];
  return Object.fromEntries(
    all.map((each) => {
      if (each.includes('=')) return splitPair(each);
      return [each, session.context.env[each] ?? null];
    }),
  );
}

/** The context as it goes out; tells of its size when it is through. */
async function* counting(session: Session, body: Readable): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    yield chunk;
  }
  await session.line(`Sending build context to the engine  ${humanSize(bytes)}`);
}

function counted(session: Session, body: Readable, isQuiet: boolean): Readable {
  return isQuiet ? body : Readable.from(counting(session, body), { objectMode: false });
}

async function packed(body: Readable): Promise<Readable> {
  const { createGzip } = await import('node:zlib');
  const gzip = createGzip();
  body.once('error', (error) => gzip.destroy(error));
  return body.pipe(gzip);
}

async function show(session: Session, messages: AsyncIterable<ProgressMessage>): Promise<string> {
  let id = '';
  await withExitCode(async () => {
    await showProgress(messages, session.context.stdout, (aux) => {
      id = idOf(aux) ?? id;
    });
  });
  return id;
}

/** What a failing build said goes to stderr. */
async function showQuietly(
  session: Session,
  messages: AsyncIterable<ProgressMessage>,
): Promise<string> {
  let said = '';
  let id = '';
  await withExitCode(async () => {
    try {
      for await (const { stream = '' } of messages) {
        if (/^sha256:[0-9a-f]{64}\n$/.test(stream)) id = stream.trim();
        else said += stream;
      }
    } catch (error) {
      await writeAll(session.context.stderr, said);
      throw error;
    }
  });
  await session.line(id);
  return id;
}

function idOf(aux: unknown): string | undefined {
  const id = typeof aux === 'object' && aux !== null && 'ID' in aux ? aux.ID : undefined;
  return typeof id === 'string' ? id : undefined;
}

/** A command that failed gives its exit code. */
async function withExitCode(body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    const code = isEngineError(error) ? error.detail['code'] : undefined;
    if (typeof code !== 'number') throw error;
    throw new ExitError(code === 0 ? EXIT.failure : code, messageOf(error), { cause: error });
  }
}

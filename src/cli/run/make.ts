import { open, rm } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, fileFault, invalidArgument, isEngineError } from '../../base/errors.ts';
import { familiarReference, parseReference, withDefaultTag } from '../../base/reference.ts';
import { hostOf } from '../connection.ts';
import { EXIT, ExitError, sentenceOf } from '../exit.ts';
import type { FlagValues } from '../flags.ts';
import { pullImage } from '../pull.ts';
import type { Session } from '../session.ts';
import { readRunFiles } from './files.ts';
import type { ContainerFlags, MAKE_FLAGS } from './flags.ts';
import { type CreateBody, createBodyOf } from './options.ts';
import { proxyEnvironment } from './proxies.ts';

const PULL_POLICIES = ['always', 'missing', 'never'];

export type MakeFlags = ContainerFlags & FlagValues<typeof MAKE_FLAGS>;

/** The request of a `create` or `run`, with what comes from files, environment and config. */
export async function bodyOf(
  session: Session,
  input: {
    readonly flags: MakeFlags;
    readonly given: (name: keyof ContainerFlags) => boolean;
    readonly args: readonly string[];
  },
): Promise<CreateBody> {
  const { context } = session;
  if (!PULL_POLICIES.includes(input.flags.pull)) {
    throw invalidArgument(
      `invalid pull option: '${input.flags.pull}': must be one of "always", "missing" or "never"`,
    );
  }
  const files = await readRunFiles(input.flags, context.cwd);
  const body = createBodyOf({ ...input, files, env: context.env, cwd: context.cwd });
  const { settings } = await session.config();
  const proxies = proxyEnvironment(
    settings.proxies,
    hostOf(context, session.globals),
    body.Env ?? [],
  );
  return { ...body, Env: [...(body.Env ?? []), ...proxies] };
}

/**
 * Makes a container, pulling its image by the `--pull` policy. Warnings go to stderr.
 * @returns its ID
 */
export async function makeContainer(
  session: Session,
  body: CreateBody,
  flags: MakeFlags,
): Promise<string> {
  await using idFile = await openIdFile(session, flags.cidfile);
  const image = body.Image ?? '';
  if (!/^[0-9a-f]{64}$/.test(image)) parseReference(image);
  if (flags.pull === 'always') await pull(session, image, flags);
  const create = async (): Promise<string> => {
    const client = await session.client();
    const { Id, Warnings } = await client.containerCreate({
      query: { name: flags.name, platform: flags.platform },
      body,
    });
    for (const warning of Warnings ?? []) await session.errorLine(`WARNING: ${warning}`);
    return Id;
  };
  let id: string;
  try {
    id = await create();
  } catch (error) {
    const missing = isEngineError(error, 'notFound') && /no such image/i.test(error.message);
    if (!missing || flags.pull !== 'missing') throw error;
    if (!flags.quiet) {
      const shown = familiarReference(withDefaultTag(parseReference(image)));
      await session.errorLine(`Unable to find image '${shown}' locally`);
    }
    await pull(session, image, flags);
    id = await create();
  }
  await idFile.write(id);
  return id;
}

async function pull(session: Session, image: string, flags: MakeFlags): Promise<void> {
  await pullImage(session, withDefaultTag(parseReference(image)), {
    platform: flags.platform,
    quiet: flags.quiet,
    output: session.context.stderr,
  });
}

type IdFile = AsyncDisposable & { readonly write: (id: string) => Promise<void> };

/** Takes `--cidfile` before anything is made; it goes again when no ID came. @throws */
async function openIdFile(session: Session, name: string): Promise<IdFile> {
  if (name === '') {
    return { write: async () => undefined, [Symbol.asyncDispose]: async () => undefined };
  }
  const file = path.resolve(session.context.cwd, name);
  let written = false;
  const handle = await open(file, 'wx', 0o644).catch((cause: unknown) => {
    if (errnoOf(cause) === 'EEXIST') {
      throw invalidArgument(
        `container ID file found, make sure the other container isn't running or delete ${name}`,
        { cause },
      );
    }
    const why = fileFault(cause);
    const text = `failed to create the container ID file: open ${name}: ${why}`;
    throw invalidArgument(text, { cause });
  });
  return {
    write: async (id) => {
      await handle.writeFile(id);
      written = true;
    },
    [Symbol.asyncDispose]: async () => {
      await handle.close();
      if (!written) await rm(file, { force: true });
    },
  };
}

/** A failure of `create` or `run` as Docker's client words it, with a hint at the help. */
export function makeError(session: Session, error: unknown, code: number = EXIT.usage): unknown {
  if (error instanceof ExitError || !(error instanceof Error)) return error;
  if (!isEngineError(error)) return error;
  const { program } = session.context;
  const text = `${program}: ${sentenceOf(error)}\n\nRun '${program} ${session.path} --help' for more information`;
  return new ExitError(code, text, { cause: error });
}

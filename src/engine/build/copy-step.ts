import path from 'node:path';
import { EngineError, invalidArgument, isEngineError, notFound } from '../../base/errors.ts';
import { type Instruction, inLine } from '../../formats/dockerfile.ts';
import { sourcesDigest } from '../../policy/build/cache.ts';
import { sourcesAndDestination } from '../../policy/build/stages.ts';
import { shellOf } from '../../policy/image-changes.ts';
import { expandWord, type Variables } from '../../policy/word-expansion.ts';
import type { ImageRecord } from '../../store/images.ts';
import type { BuildSource } from '../../worker/build-protocol.ts';
import { baseImage } from './base-image.ts';
import { useCache } from './cache.ts';
import { commitStep } from './commit-step.ts';
import type { BuildSession, BuildStage } from './session.ts';
import { withTree } from './trees.ts';

/** What COPY and ADD are asked, variables in place. */
type Copy = {
  readonly keyword: string;
  readonly paths: readonly string[];
  /** As the user writes it. */
  readonly shownTo: string;
  /** Absolute. */
  readonly to: string;
  readonly owner: string;
  readonly mayDownload: boolean;
};

/** COPY and ADD: files of the context, of another stage or image, or of the web, as a layer. */
export async function copyStep(
  session: BuildSession,
  stage: BuildStage,
  instruction: Instruction,
  variables: Variables,
): Promise<void> {
  const copy = inLine(instruction.line, () => copyOf(session, stage, instruction, variables));
  const from = instruction.flags.get('from');
  if (from === undefined) {
    await copyFrom(session, stage, copy, '');
    return;
  }
  const image = await sourceImage(session, from);
  await withTree(session.engine, image.diffIds, async ({ merged }) => {
    await copyFrom(session, stage, copy, merged);
  });
}

function copyOf(
  { escapeWith }: BuildSession,
  { config }: BuildStage,
  { keyword, rest, flags }: Instruction,
  variables: Variables,
): Copy {
  const words = sourcesAndDestination(rest).map((each) => expandWord(each, variables, escapeWith));
  const shownTo = words.at(-1) ?? '';
  const isFolder = /(?:^|\/)\.?$/.test(shownTo);
  const to = path.posix.resolve('/', config.WorkingDir, shownTo);
  return {
    keyword,
    paths: words.slice(0, -1),
    shownTo,
    to: isFolder && to !== '/' ? `${to}/` : to,
    owner: expandWord(flags.get('chown') ?? '', variables, escapeWith),
    mayDownload: keyword === 'ADD',
  };
}

async function copyFrom(
  session: BuildSession,
  stage: BuildStage,
  copy: Copy,
  from: string,
): Promise<void> {
  const { worker, engine } = session;
  const { keyword, paths, owner, to } = copy;
  const sources = await failingAs(`${keyword} failed`, () =>
    worker.sources({ from, paths, mayDownload: copy.mayDownload }),
  );
  checkSources(copy, sources);
  const chown = owner === '' ? '' : `--chown=${owner}`;
  const digest = sourcesDigest(sources.map((source) => source.digest));
  const comment = `#(nop) ${keyword} ${chown}${digest} in ${copy.shownTo} `;
  const made = { ...stage.config, Cmd: [...shellOf(stage.config), comment] };
  if (await useCache(session, stage, made)) return;
  const layer = await withTree(engine, stage.image?.diffIds ?? [], (of) =>
    worker.copy({
      ...{ of, from, sources, to, owner },
      keepsOwner: from !== '' && owner === '',
      unpacks: keyword === 'ADD',
    }),
  );
  await commitStep(session, stage, { made, layer });
}

function checkSources({ keyword, shownTo }: Copy, sources: readonly BuildSource[]): void {
  if (sources.length === 0) {
    throw invalidArgument(`${keyword} failed: no source files were specified`);
  }
  if (sources.length > 1 && !shownTo.endsWith('/')) {
    throw invalidArgument(
      `When using ${keyword} with more than one source file, the destination must be a directory and end with a /`,
    );
  }
}

/** Puts words before those of an error that is the user's. */
async function failingAs<T>(what: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    if (!isEngineError(error, 'invalidArgument', 'notFound', 'unavailable')) throw error;
    throw new EngineError(error.kind, `${what}: ${error.message}`, { cause: error });
  }
}

/** What `--from` means: a stage that is done, by name or number, or an image. */
async function sourceImage(session: BuildSession, from: string): Promise<ImageRecord> {
  const { stages } = session;
  if (/^\d{1,6}$/.test(from)) {
    const stage = stages[Number(from)];
    if (stage === undefined) {
      throw invalidArgument(
        `invalid from flag value ${from}: there is no such stage before this one`,
      );
    }
    return imageOf(stage, from);
  }
  const stage = stages.findLast((each) => each.name !== '' && each.name === from.toLowerCase());
  if (stage !== undefined) return imageOf(stage, from);
  const image = await failingAs(`invalid from flag value ${from}`, () =>
    baseImage(session, from, session.options.platform),
  );
  session.hold(image);
  return image;
}

function imageOf({ image }: BuildStage, from: string): ImageRecord {
  if (image === undefined) throw notFound(`invalid from flag value ${from}: the stage is empty`);
  return image;
}

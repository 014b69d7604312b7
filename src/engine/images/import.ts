import type { Readable } from 'node:stream';
import { formatTimeMs } from '../../base/clock.ts';
import { invalidArgument } from '../../base/errors.ts';
import { familiarReference, repositoryOf } from '../../base/reference.ts';
import { applyChanges } from '../../policy/image-changes.ts';
import { type ImagePlatform, parsePlatform } from '../../policy/platform.ts';
import { containerConfig } from '../../spec/docker/container.ts';
import type { ImportInput, ImportResult } from '../../worker/archive-protocol.ts';
import type { ProgressCall } from '../call.ts';
import { commitImage } from './commit-image.ts';
import { imageEvent } from './events.ts';
import { type LoadEngine, runWithBody } from './load.ts';
import { hostOf } from './pull.ts';
import { targetReference } from './tag.ts';
import { writtenLine } from './written.ts';

/** Arguments of `POST /images/create?fromSrc=…`. */
export type ImageImportArgs = {
  readonly query: {
    /** `-` for the body, or a URL. */
    readonly fromSrc: string;
    readonly repo: string;
    readonly tag: string;
    readonly message: string;
    readonly changes: readonly string[];
    readonly platform: string;
  };
  readonly body: Readable;
};

/**
 * Makes an image of one layer from a tar of a root filesystem, plain or compressed. The last line
 * of progress is the image's ID.
 *
 * @throws invalidArgument for a bad name, platform, change, URL or tar
 */
export async function imageImport(
  engine: LoadEngine,
  args: ImageImportArgs,
  call: ProgressCall,
): Promise<void> {
  const { fromSrc, repo, tag, message, changes } = args.query;
  const reference = repo === '' ? undefined : targetReference(repo, tag);
  const platform = wantedPlatform(args.query.platform);
  const config = applyChanges(containerConfig.zero(), changes);
  const isBody = fromSrc === '-' || fromSrc === '';
  const url = isBody ? '' : urlOf(fromSrc);

  if (!isBody) call.progress({ status: `Downloading from ${url}` });
  await using staging = engine.layers.stage();
  const input: ImportInput = { staging: staging.directory, url };
  const body = isBody ? args.body : undefined;
  const { layer } = (await runWithBody(engine, 'import', input, body, call)) as ImportResult;

  const comment = message === '' ? `Imported from ${isBody ? '-' : url}` : message;
  const created = formatTimeMs(engine.clock.nowMs());
  const image = Buffer.from(
    JSON.stringify({
      architecture: platform.architecture,
      ...(platform.variant === '' ? {} : { variant: platform.variant }),
      os: platform.os,
      created,
      comment,
      config,
      rootfs: { type: 'layers', diff_ids: [layer.diffId] },
      history: [{ created, comment }],
    }),
  );
  const tags =
    reference === undefined
      ? []
      : [{ repository: repositoryOf(reference), tag: reference.tag ?? '' }];
  const id = await commitImage(engine, {
    staged: [layer],
    config: image,
    diffIds: [layer.diffId],
    tags,
    repoDigests: [],
    manifests: [],
    cause: 'import',
  });
  const made = { id, config: image };
  imageEvent(engine, 'import', made, id);
  if (reference !== undefined) imageEvent(engine, 'tag', made, familiarReference(reference));
  call.progress({ status: writtenLine(engine, [layer.diffId], [layer]) });
  call.progress({ status: id });
}

function wantedPlatform(text: string): ImagePlatform {
  const platform = text === '' ? hostOf() : parsePlatform(text, hostOf());
  if (platform.os !== 'linux') {
    throw invalidArgument(`operating system is not supported: "${platform.os}"`);
  }
  return platform;
}

/** A source without a scheme is a host, as in Docker. */
function urlOf(source: string): string {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(source) ? source : `http://${source}`;
}

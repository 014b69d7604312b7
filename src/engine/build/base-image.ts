import { invalidArgument } from '../../base/errors.ts';
import { familiarReference, parseReference, withDefaultTag } from '../../base/reference.ts';
import { parsePlatform, platformRank } from '../../policy/platform.ts';
import type { ImageRecord } from '../../store/images.ts';
import { hostOf, imagePull } from '../images/pull.ts';
import { findImage, getImage } from '../images/resolve.ts';
import { configOf } from './commit-step.ts';
import { authOf } from './options.ts';
import type { BuildSession } from './session.ts';

/**
 * The image that FROM or `--from` names: one that is here, unless the build wants the newest or a
 * platform that it is not of; else it is pulled.
 * @throws invalidArgument for a bad name or platform; what a pull throws
 */
export async function baseImage(
  session: BuildSession,
  name: string,
  platform: string,
): Promise<ImageRecord> {
  const { engine, options, call } = session;
  const here = findImage(engine, name);
  const isId = here !== undefined && here.reference === undefined;
  const wanted = platform === '' ? undefined : parsePlatform(platform, hostOf());
  if (wanted !== undefined && wanted.os !== 'linux') {
    throw invalidArgument(`operating system is not supported: "${wanted.os}"`);
  }
  if (here !== undefined && (isId || !options.pull)) {
    const { os, architecture, variant } = configOf(here.image);
    const have = { os: os || 'linux', architecture, variant };
    const fits = wanted === undefined || isId || platformRank(wanted, have) !== undefined;
    if (fits && here.image.diffIds.every(engine.layers.isWhole)) return here.image;
  }
  const reference = withDefaultTag(parseReference(name));
  await imagePull(
    engine,
    {
      query: { fromImage: familiarReference(reference), tag: '', platform, delta: '' },
      headers: { registryAuth: authOf(options.registries, reference.domain) },
    },
    call,
  );
  return getImage(engine, name).image;
}

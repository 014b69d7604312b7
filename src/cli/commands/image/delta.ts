import path from 'node:path';
import { parseReference, repositoryOf } from '../../../base/reference.ts';
import type { LayoutImage } from '../../../spec/delta-layout.ts';
import { between, defineCommand } from '../../command.ts';
import { EXIT, ExitError } from '../../exit.ts';
import { bool, strings, text } from '../../flags.ts';
import { ProgressView, showProgress } from '../../progress.ts';
import { authFor } from '../../pull.ts';
import type { Session } from '../../session.ts';

const flags = {
  from: strings('', 'Images to start from, in place of BASE; a bare word is a tag beside TARGET'),
  output: text('o', 'Folder of an OCI layout for the deltas of images in OCI layouts'),
  push: bool('', 'Send the delta to the registry of TARGET, where a pull of TARGET finds it'),
  tag: text('t', 'Name of the delta image (name:tag)'),
};

export const command = defineCommand({
  use: '[OPTIONS] [BASE] TARGET',
  args: between(1, 2),
  about:
    'Without --push, the delta is an image of its own, as balenaEngine makes them: push it like\n' +
    'any image; who has BASE gets TARGET by pulling it. With --push, it lies beside TARGET.\n' +
    'With oci:DIR[:NAME] for all images, no daemon is needed, and --output gets the deltas.',
  flags,
  run: async (session, { flags, args }) => {
    const target = args.at(-1) ?? '';
    const from = flags.from.map((word) =>
      target.startsWith(LAYOUT) ? word : besides(target, word),
    );
    const bases = [...args.slice(0, -1), ...from];
    if (bases.length === 0) throw new ExitError(EXIT.failure, 'a delta needs a BASE or --from');
    const clash = clashOf(flags, target.startsWith(LAYOUT));
    if (clash !== '') throw new ExitError(EXIT.failure, clash);
    if (target.startsWith(LAYOUT)) {
      await inLayouts(session, { target, bases, output: flags.output });
      return undefined;
    }
    const client = await session.client();
    if (flags.push) {
      const reference = parseReference(target);
      const messages = await client.deltaPublish({
        query: { target, base: bases },
        headers: { registryAuth: await authFor(session, reference) },
      });
      await showProgress(messages, session.context.stdout);
      return undefined;
    }
    const [src = '', ...more] = bases;
    if (more.length > 0) throw new ExitError(EXIT.failure, 'several bases need --push');
    const messages = await client.imageDelta({ query: { src, dest: target, t: flags.tag } });
    await showProgress(messages, session.context.stdout);
    return undefined;
  },
});

/** What is wrong with the flags together; ''. None is passed over: who gave it counts on it. */
function clashOf(
  { push, tag, output }: { push: boolean; tag: string; output: string },
  isLayout: boolean,
): string {
  if (isLayout && push) {
    return '--push needs images of the daemon: send the layout that --output names by a tool for layouts';
  }
  if (isLayout && tag !== '') return '--tag cannot be used with oci:DIR: the deltas have no names';
  if (!isLayout && output !== '') return '--output is for images in OCI layouts (oci:DIR)';
  return push && tag !== '' ? '--tag cannot be used with --push: it has no name' : '';
}

/** A bare word is a tag of the target's repository: `--from v1,v2 app:v3`. */
function besides(target: string, base: string): string {
  return /[/:@]/.test(base) ? base : `${repositoryOf(parseReference(target))}:${base}`;
}

const LAYOUT = 'oci:';

/** `oci:DIR` or `oci:DIR:NAME`. */
function layoutImage(session: Session, text: string): LayoutImage {
  const [, folder = '', name = ''] = /^oci:([^:]+)(?::([^/:]+))?$/.exec(text) ?? [];
  if (folder === '') {
    throw new ExitError(EXIT.failure, `${text} is no oci:DIR[:NAME], as the other images are`);
  }
  return { folder: path.resolve(session.context.cwd, folder), name };
}

async function inLayouts(
  session: Session,
  given: { target: string; bases: readonly string[]; output: string },
): Promise<void> {
  const target = layoutImage(session, given.target);
  const { cwd, makeDeltas, stdout } = session.context;
  const view = new ProgressView(stdout);
  let written = Promise.resolve();
  await makeDeltas(
    {
      target,
      bases: given.bases.map((base) => layoutImage(session, base)),
      output: given.output === '' ? target.folder : path.resolve(cwd, given.output),
    },
    (message) => {
      const text = view.render(message);
      written = written.then(() => session.out(text));
    },
  );
  await written;
}

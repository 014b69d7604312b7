import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseReference, repositoryOf, withDefaultTag } from '../../../base/reference.ts';
import type { InspectedDelta } from '../../../spec/delta-inspect.ts';
import { defineCommand, exactly } from '../../command.ts';
import { columnsOf } from '../../context.ts';
import { deltasInLayout } from '../../delta-files.ts';
import { reportText } from '../../delta-report.ts';
import { deltaPage } from '../../delta-treemap.ts';
import { text } from '../../flags.ts';
import { authFor } from '../../pull.ts';
import type { Session } from '../../session.ts';

const LAYOUT = 'oci:';

const flags = {
  html: text('', 'Write a page with a treemap to this file'),
  platform: text('', 'Platform of the image (os[/arch[/variant]])'),
};

export const command = defineCommand({
  use: '[OPTIONS] TARGET|oci:DIR',
  args: exactly(1),
  about: 'Shows the deltas to an image in a registry, or those in an OCI layout.',
  flags,
  run: async (session, { flags, args: [name = ''] }) => {
    const deltas = name.startsWith(LAYOUT)
      ? await deltasInLayout(path.resolve(session.context.cwd, name.slice(LAYOUT.length)))
      : await deltasTo(session, name, flags.platform);
    if (flags.html === '') {
      const { stdout } = session.context;
      const columns = stdout.isTTY === true ? columnsOf(stdout) : undefined;
      await session.out(deltas.map((delta) => reportText(delta, columns)).join('\n\n'));
      return undefined;
    }
    await writeFile(path.resolve(session.context.cwd, flags.html), deltaPage(name, deltas));
    await session.line(flags.html);
    return undefined;
  },
});

async function deltasTo(
  session: Session,
  name: string,
  platform: string,
): Promise<readonly InspectedDelta[]> {
  const reference = withDefaultTag(parseReference(name));
  const end = reference.digest === undefined ? `:${reference.tag}` : `@${reference.digest}`;
  const client = await session.client();
  return await client.deltaInspect({
    query: { target: `${repositoryOf(reference)}${end}`, platform },
    headers: { registryAuth: await authFor(session, reference) },
  });
}

import { humanSize } from '../../../base/bytes.ts';
import { shortId } from '../../../base/digest.ts';
import { parseReference, repositoryOf, withDefaultTag } from '../../../base/reference.ts';
import type { DeltaPlan } from '../../../spec/delta-plan.ts';
import { defineCommand, exactly } from '../../command.ts';
import { text } from '../../flags.ts';
import { authFor } from '../../pull.ts';
import { alignTabs } from '../../tabwriter.ts';

const flags = {
  platform: text('', 'Platform of the image (os[/arch[/variant]])'),
};

export const command = defineCommand({
  use: '[OPTIONS] TARGET',
  args: exactly(1),
  flags,
  run: async (session, { flags, args: [name = ''] }) => {
    const reference = withDefaultTag(parseReference(name));
    const digest = reference.digest === undefined ? `:${reference.tag}` : `@${reference.digest}`;
    const client = await session.client();
    const plan = await client.deltaPlan({
      query: { target: `${repositoryOf(reference)}${digest}`, platform: flags.platform },
      headers: { registryAuth: await authFor(session, reference) },
    });
    await session.out(planTable(plan));
    return undefined;
  },
});

/** One line for each way, the chosen one marked. */
export function planTable({ Layers, Deltas, Problem, Choice }: DeltaPlan): string {
  if (Choice === 'nothing') return 'Everything is here: a pull downloads nothing.\n';
  const mark = (way: string): string => (way === Choice ? '*' : ' ');
  const missing = `${Layers.Missing} of ${Layers.Total} layers`;
  const rows = [
    ['  WAY', 'DOWNLOAD', 'BASE'],
    [`${mark('layers')} ${missing}`, humanSize(Layers.Bytes, 3), ''],
    ...Deltas.map(({ Digest, Base, BaseName, Bytes }) => [
      `${mark(Digest)} delta ${shortId(Digest)}`,
      humanSize(Bytes, 3),
      BaseName === '' ? `${shortId(Base)} (not here)` : BaseName,
    ]),
  ];
  const problems = [
    ...Deltas.filter((each) => each.Problem !== '').map(
      ({ Digest, Problem }) => `The delta ${shortId(Digest)} cannot be used: ${Problem}\n`,
    ),
    ...(Problem === '' ? [] : [`Not all deltas are known: ${Problem}\n`]),
  ];
  return [alignTabs(rows.map((cells) => `${cells.join('\t')}\n`).join('')), ...problems].join('');
}

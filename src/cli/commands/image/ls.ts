import { atMost, defineCommand } from '../../command.ts';
import { filterFlag } from '../../filter-flag.ts';
import { bool, text } from '../../flags.ts';
import { FORMAT_USAGE, writeRows } from '../../format.ts';
import { imageRows, imageShape, imageTable } from '../../shapes/image.ts';

const flags = {
  all: bool('a', 'Show images that are steps of others too'),
  digests: bool('', 'Show digests'),
  filter: filterFlag('f'),
  format: text('', FORMAT_USAGE),
  'no-trunc': bool('', 'Show IDs in full'),
  quiet: bool('q', 'Show IDs only'),
};

export const command = defineCommand({
  use: '[OPTIONS] [REPOSITORY[:TAG]]',
  args: atMost(1),
  flags,
  run: async (session, { flags, args: [name] }) => {
    const client = await session.client();
    const filters = name === undefined ? flags.filter : { ...flags.filter, reference: [name] };
    const images = await client.imageList({ query: { all: flags.all, filters } });
    const configured = (await session.config()).settings.imagesFormat;
    const format = flags.format || (flags.quiet ? '' : configured);
    const digests = flags.digests || /\.Digest\b/.test(format);
    const rows = images.flatMap((image) => imageRows(image, digests));
    const quiet = flags.quiet && ['', 'table'].includes(format);
    await writeRows(session, rows, {
      format: quiet ? '{{.ID}}' : format,
      shape: imageShape({ trunc: !flags['no-trunc'], nowMs: session.context.nowMs() }),
      named: { table: imageTable(flags.digests) },
    });
    return undefined;
  },
});

import { humanSize } from '../../../base/bytes.ts';
import { defineCommand, noArguments } from '../../command.ts';
import { EXIT } from '../../exit.ts';
import { bool, duration } from '../../flags.ts';

const flags = {
  'older-than': duration(
    '',
    'Leave what is younger alone: it may be about to get its name',
    600 * 1e9,
  ),
  sweep: bool('', 'Delete what belongs to nothing', { initial: true }),
};

export const command = defineCommand({
  use: '[OPTIONS]',
  args: noArguments,
  flags,
  about:
    'Damage is what `image verify` has found; it is repaired by pulling or loading the image again.',
  run: async (session, { flags }) => {
    const client = await session.client();
    const olderThan = Math.ceil(flags['older-than'] / 1e9);
    const { Orphans, Damaged, Swept } = await client.systemCheck({
      query: { sweep: flags.sweep, olderThan },
    });
    for (const { Path, Kind, Bytes } of Orphans) {
      await session.line(`${Swept ? 'Swept' : 'Orphan'} ${Kind} ${Path} (${humanSize(Bytes)})`);
    }
    for (const { Layer, Why, Images } of Damaged) {
      await session.line(`Damaged layer ${Layer} of ${Images.join(', ')}: ${Why}`);
    }
    if (Orphans.length === 0 && Damaged.length === 0) await session.line('Everything is in order');
    return Damaged.length > 0 ? EXIT.failure : undefined;
  },
});

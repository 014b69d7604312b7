import { atMost, defineCommand } from '../../command.ts';
import { EXIT, ExitError } from '../../exit.ts';
import { list, pairs, splitPair, text } from '../../flags.ts';
import { checkLabel } from '../../run/values.ts';

const flags = {
  driver: text('d', 'Driver of the volume', { initial: 'local' }),
  label: list('', 'Labels of the volume', { item: checkLabel }),
  name: text('', 'Name of the volume', { hidden: true }),
  opt: pairs('o', 'Options of the driver'),
};

export const command = defineCommand({
  use: '[OPTIONS] [VOLUME]',
  args: atMost(1),
  flags,
  run: async (session, { flags, args: [name] }) => {
    if (name !== undefined && flags.name !== '') {
      throw new ExitError(
        EXIT.failure,
        'conflicting options: cannot specify a volume-name through both --name and as a positional arg',
      );
    }
    const client = await session.client();
    const { Name } = await client.volumeCreate({
      body: {
        Name: name ?? flags.name,
        Driver: flags.driver,
        DriverOpts: flags.opt,
        Labels: Object.fromEntries(flags.label.map(splitPair)),
      },
    });
    await session.line(Name);
    return undefined;
  },
});

import { isEngineError } from '../../../base/errors.ts';
import type { Client } from '../../../client/client.ts';
import { atLeast, defineCommand } from '../../command.ts';
import { EXIT, ExitError } from '../../exit.ts';
import { bool, text } from '../../flags.ts';
import { INSPECT_FORMAT_USAGE, inspectAll } from '../../inspect.ts';

const flags = {
  format: text('f', INSPECT_FORMAT_USAGE),
  size: bool('s', 'Add the size of files to containers'),
  type: text('', 'Look for this kind of thing only'),
};

type Lookup = (client: Client, name: string, size: boolean) => Promise<object>;

/** In the order that a name is looked for. */
const KINDS: readonly (readonly [string, Lookup])[] = [
  ['container', (client, id, size) => client.containerInspect({ params: { id }, query: { size } })],
  ['image', (client, name) => client.imageInspect({ params: { name } })],
  ['network', (client, id) => client.networkInspect({ params: { id } })],
  ['volume', (client, name) => client.volumeInspect({ params: { name } })],
];

export const command = defineCommand({
  use: '[OPTIONS] NAME|ID [NAME|ID...]',
  args: atLeast(1),
  flags,
  run: async (session, { flags, given, args }) => {
    if (given('type') && flags.type === '') {
      throw new ExitError(
        EXIT.failure,
        'type is empty: must be one of "container", "image", "network", "volume"',
      );
    }
    const kinds = KINDS.filter(([kind]) => flags.type === '' || kind === flags.type);
    if (kinds.length === 0) {
      throw new ExitError(
        EXIT.failure,
        `unknown type: ${JSON.stringify(flags.type)}: must be one of "container", "image", "network", "volume"`,
      );
    }
    const client = await session.client();
    return await inspectAll(session, args, flags.format, async (name) => {
      for (const [, lookup] of kinds) {
        try {
          return await lookup(client, name, flags.size);
        } catch (error) {
          // A name that cannot be an image's, say, is none.
          const other = flags.type === '' && isEngineError(error, 'notFound', 'invalidArgument');
          if (!other) throw error;
        }
      }
      throw new ExitError(EXIT.failure, `Error: No such object: ${name}`);
    });
  },
});

import { humanSize } from '../../../base/bytes.ts';
import { shortId } from '../../../base/digest.ts';
import type { ImageHistoryItem } from '../../../spec/docker/image.ts';
import { defineCommand, exactly } from '../../command.ts';
import { ago, ellipsis, rfc3339 } from '../../display.ts';
import { bool, text } from '../../flags.ts';
import { FORMAT_USAGE, type RowShape, writeRows } from '../../format.ts';
import { parsePlatform } from '../../platform.ts';

const flags = {
  format: text('', FORMAT_USAGE),
  human: bool('H', 'Show sizes and times for people', { initial: true }),
  'no-trunc': bool('', 'Show IDs and commands in full'),
  platform: text('', 'Platform of the image (os[/arch[/variant]])'),
  quiet: bool('q', 'Show IDs only'),
};

const COMMAND_CHARS = 45;

function shapeOf(options: {
  readonly trunc: boolean;
  readonly human: boolean;
  readonly nowMs: number;
}): RowShape<ImageHistoryItem> {
  const { trunc, human } = options;
  return {
    typeName: '*image.historyContext',
    fields: {
      Comment: { header: 'COMMENT', value: (item) => item.Comment },
      CreatedAt: { header: 'CREATED AT', value: (item) => rfc3339(item.Created) },
      CreatedBy: {
        header: 'CREATED BY',
        value: (item) => {
          const line = item.CreatedBy.replaceAll('\t', ' ');
          return trunc ? ellipsis(line, COMMAND_CHARS) : line;
        },
      },
      CreatedSince: {
        header: human ? 'CREATED' : 'CREATED AT',
        value: (item) => (human ? ago(item.Created, options.nowMs) : rfc3339(item.Created)),
      },
      ID: { header: 'IMAGE', value: (item) => (trunc ? shortId(item.Id) : item.Id) },
      Size: {
        header: 'SIZE',
        value: (item) => (human ? humanSize(item.Size, 3) : String(item.Size)),
      },
    },
  };
}

export const command = defineCommand({
  use: '[OPTIONS] IMAGE',
  args: exactly(1),
  flags,
  run: async (session, { flags, args: [name = ''] }) => {
    const client = await session.client();
    const items = await client.imageHistory({
      params: { name },
      query: { platform: parsePlatform(flags.platform) },
    });
    const format = flags.quiet && ['', 'table'].includes(flags.format) ? '{{.ID}}' : flags.format;
    await writeRows(session, items, {
      format,
      shape: shapeOf({
        trunc: !flags['no-trunc'],
        human: flags.human,
        nowMs: session.context.nowMs(),
      }),
      named: {
        table: '{{.ID}}\\t{{.CreatedSince}}\\t{{.CreatedBy}}\\t{{.Size}}\\t{{.Comment}}',
      },
    });
    return undefined;
  },
});

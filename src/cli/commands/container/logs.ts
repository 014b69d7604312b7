import { defineCommand, exactly } from '../../command.ts';
import { writeAll } from '../../context.ts';
import { bool, text } from '../../flags.ts';
import { copyFramed } from '../../streams.ts';
import { apiTime } from '../../time-flag.ts';

const flags = {
  details: bool('', 'Show the details that the log driver keeps'),
  follow: bool('f', 'Go on with what is written from now on'),
  since: text('', 'Show what was written since a time, or a while ago (e.g. "42m")'),
  tail: text('n', 'Number of lines from the end', { initial: 'all' }),
  timestamps: bool('t', 'Show times'),
  until: text('', 'Show what was written before a time, or a while ago (e.g. "42m")'),
};

export const command = defineCommand({
  use: '[OPTIONS] CONTAINER',
  args: exactly(1),
  flags,
  run: async (session, { flags, args: [id = ''] }) => {
    const client = await session.client();
    const now = session.context.nowMs();
    const { Config } = await client.containerInspect({ params: { id } });
    const { body } = await client.containerLogs({
      params: { id },
      query: {
        stdout: true,
        stderr: true,
        follow: flags.follow,
        since: apiTime(flags.since, now, 'since'),
        until: apiTime(flags.until, now, 'until'),
        timestamps: flags.timestamps,
        tail: flags.tail,
        details: flags.details,
      },
    });
    if (Config.Tty !== true) await copyFramed(body, session.context);
    else for await (const chunk of body) await writeAll(session.context.stdout, chunk as Buffer);
    return undefined;
  },
});

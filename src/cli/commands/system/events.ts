import { messageOf } from '../../../base/errors.ts';
import { type CompiledTemplate, compileTemplate } from '../../../formats/gotemplate.ts';
import { STRUCT } from '../../../formats/gotemplate-functions.ts';
import type { EventMessage } from '../../../spec/docker/event.ts';
import { defineCommand, noArguments } from '../../command.ts';
import { ExitError, TEMPLATE_EXIT } from '../../exit.ts';
import { filterFlag } from '../../filter-flag.ts';
import { text } from '../../flags.ts';
import { INSPECT_FORMAT_USAGE } from '../../inspect.ts';
import { apiTime } from '../../time-flag.ts';

const flags = {
  filter: filterFlag('f'),
  format: text('', INSPECT_FORMAT_USAGE),
  since: text('', 'Show what happened since a time, or a while ago'),
  until: text('', 'Stop at a time, or a while ago'),
};

export const command = defineCommand({
  use: '[OPTIONS]',
  args: noArguments,
  flags,
  run: async (session, { flags }) => {
    const { format } = flags;
    const template = format === '' || format === 'json' ? undefined : compile(format);
    const now = session.context.nowMs();
    const client = await session.client();
    const events = await client.systemEvents({
      query: {
        since: apiTime(flags.since, now),
        until: apiTime(flags.until, now),
        filters: flags.filter,
      },
    });
    for await (const event of events) {
      if (format === 'json') await session.line(JSON.stringify(event));
      else if (template === undefined) await session.line(lineOf(event));
      else await session.line(template.execute(templateView(event)));
    }
    return undefined;
  },
});

/** @throws ExitError when the template cannot be parsed or names what events do not have */
function compile(format: string): CompiledTemplate {
  try {
    const template = compileTemplate(format);
    template.execute(templateView(EMPTY));
    return template;
  } catch (cause) {
    throw new ExitError(TEMPLATE_EXIT, `Error parsing format: ${messageOf(cause)}`, { cause });
  }
}

const EMPTY: EventMessage = {
  Type: 'container',
  Action: '',
  Actor: { ID: '', Attributes: {} },
  scope: 'local',
  time: 0,
  timeNano: 0,
};

/** The fields by their Go names; JSON has them as the API does. */
function templateView(event: EventMessage): object {
  const names = {
    Status: event.status ?? '',
    ID: event.id ?? '',
    From: event.from ?? '',
    Scope: event.scope,
    Time: event.time,
    TimeNano: event.timeNano,
  };
  const view = { ...event, [STRUCT]: '*events.Message' };
  for (const [name, value] of Object.entries(names)) {
    Object.defineProperty(view, name, { enumerable: false, value });
  }
  return view;
}

/** `2026-01-02T15:04:05.000000000Z container start 1234… (image=x, name=y)` in local time. */
function lineOf(event: EventMessage): string {
  const attributes = Object.entries(event.Actor.Attributes ?? {})
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`);
  const shown = attributes.length === 0 ? '' : ` (${attributes.join(', ')})`;
  return `${timeOf(event)} ${event.Type} ${event.Action} ${event.Actor.ID}${shown}`;
}

function timeOf(event: EventMessage): string {
  // As a number the nanoseconds have lost their last digits; its text is what came.
  const ns = BigInt(event.timeNano > 0 ? String(event.timeNano) : event.time * 1e9);
  const date = new Date(Number(ns / 1_000_000n));
  const offset = -date.getTimezoneOffset();
  const local = new Date(date.getTime() + offset * 60_000).toISOString().slice(0, 19);
  const fraction = (ns % 1_000_000_000n).toString().padStart(9, '0');
  if (offset === 0) return `${local}.${fraction}Z`;
  const two = (value: number): string => String(value).padStart(2, '0');
  const minutes = Math.abs(offset);
  return `${local}.${fraction}${offset < 0 ? '-' : '+'}${two(Math.trunc(minutes / 60))}:${two(minutes % 60)}`;
}

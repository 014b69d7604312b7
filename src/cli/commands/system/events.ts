import { invalidArgument, messageOf } from '../../../base/errors.ts';
import { type CompiledTemplate, compileTemplate } from '../../../formats/gotemplate.ts';
import type { EventMessage } from '../../../spec/docker/event.ts';
import { defineCommand, noArguments } from '../../command.ts';
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
        since: apiTime(flags.since, now, 'since'),
        until: apiTime(flags.until, now, 'until'),
        filters: flags.filter,
      },
    });
    for await (const event of events) {
      if (format === 'json') await session.line(JSON.stringify(event));
      else if (template === undefined) await session.line(lineOf(event));
      else await session.line(execute(template, event));
    }
    return undefined;
  },
});

function compile(format: string): CompiledTemplate {
  try {
    return compileTemplate(format);
  } catch (cause) {
    throw invalidArgument(`Error parsing format: ${messageOf(cause)}`, { cause });
  }
}

function execute(template: CompiledTemplate, event: EventMessage): string {
  // Templates see the fields by their Go names.
  return template.execute({
    ...event,
    ...twins(event),
    Scope: event.scope,
    Time: event.time,
    TimeNano: event.timeNano,
  });
}

function twins(event: EventMessage): object {
  return {
    Status: event.status ?? event.Action,
    ID: event.id ?? event.Actor.ID,
    From: event.from ?? '',
  };
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
  // As a number the nanoseconds have lost their last digits; what is left of them is shown.
  const nano = event.timeNano > 0 ? event.timeNano : event.time * 1e9;
  const ns = BigInt(nano);
  const date = new Date(Number(ns / 1_000_000n));
  const offset = -date.getTimezoneOffset();
  const local = new Date(date.getTime() + offset * 60_000).toISOString().slice(0, 19);
  const fraction = (ns % 1_000_000_000n).toString().padStart(9, '0');
  if (offset === 0) return `${local}.${fraction}Z`;
  const two = (value: number): string => String(value).padStart(2, '0');
  const minutes = Math.abs(offset);
  return `${local}.${fraction}${offset < 0 ? '-' : '+'}${two(Math.trunc(minutes / 60))}:${two(minutes % 60)}`;
}

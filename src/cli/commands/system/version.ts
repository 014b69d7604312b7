import { formatApiVersion } from '../../../api/contract/versions.ts';
import { invalidArgument, isEngineError, messageOf } from '../../../base/errors.ts';
import { compileTemplate } from '../../../formats/gotemplate.ts';
import type { SystemVersion } from '../../../spec/docker/system.ts';
import { defineCommand, noArguments } from '../../command.ts';
import { EXIT, ExitError, sentenceOf } from '../../exit.ts';
import { text } from '../../flags.ts';
import { INSPECT_FORMAT_USAGE } from '../../inspect.ts';
import type { Session } from '../../session.ts';
import { alignTabs } from '../../tabwriter.ts';

const flags = { format: text('f', INSPECT_FORMAT_USAGE) };

export const command = defineCommand({
  use: '[OPTIONS]',
  args: noArguments,
  flags,
  run: async (session, { flags }) => {
    const template =
      flags.format === '' || flags.format === 'json' ? undefined : compile(flags.format);
    const client = await session.client();
    let server: SystemVersion | undefined;
    let failure = '';
    try {
      server = await client.systemVersion();
    } catch (error) {
      if (!isEngineError(error)) throw error;
      failure = sentenceOf(error);
    }
    const versions = {
      Client: clientVersion(session, formatApiVersion(client.apiVersion())),
      Server: server ?? null,
    };
    if (flags.format === 'json') await session.line(JSON.stringify(versions));
    else if (template !== undefined) await session.line(execute(template, versions));
    else await session.out(describe(versions));
    if (failure !== '') throw new ExitError(EXIT.failure, failure);
    return undefined;
  },
});

type ClientVersion = Readonly<Record<string, string>>;

function clientVersion({ context }: Session, api: string): ClientVersion {
  return {
    Version: context.version,
    ApiVersion: api,
    DefaultAPIVersion: api,
    GitCommit: context.commit,
    GoVersion: '',
    Os: context.os,
    Arch: context.arch,
    BuildTime: '',
    Context: 'default',
  };
}

function compile(format: string): ReturnType<typeof compileTemplate> {
  try {
    return compileTemplate(format, { missingKey: 'error' });
  } catch (cause) {
    throw new ExitError(64, `template parsing error: ${messageOf(cause)}`, { cause });
  }
}

function execute(template: ReturnType<typeof compileTemplate>, data: object): string {
  try {
    return template.execute(data);
  } catch (cause) {
    throw invalidArgument(`template parsing error: ${messageOf(cause)}`, { cause });
  }
}

function describe({
  Client: client,
  Server: server,
}: {
  Client: ClientVersion;
  Server: SystemVersion | null;
}): string {
  const rows: [string, string][] = [
    ['Client:', ''],
    [' Version:', client['Version'] ?? ''],
    [' API version:', client['ApiVersion'] ?? ''],
    [' Git commit:', client['GitCommit'] ?? ''],
    [' OS/Arch:', `${client['Os']}/${client['Arch']}`],
    [' Context:', client['Context'] ?? ''],
  ];
  if (server !== null) rows.push(...serverRows(server));
  return alignTabs(rows.map(([name, value]) => `${name}\t${value}`.trimEnd()).join('\n'), {
    minWidth: 20,
    padding: 1,
  }).concat('\n');
}

function serverRows(server: SystemVersion): [string, string][] {
  const rows: [string, string][] = [
    ['', ''],
    [`Server: ${server.Platform?.Name ?? ''}`.trimEnd(), ''],
  ];
  for (const component of server.Components ?? []) {
    rows.push([` ${component.Name}:`, ''], ['  Version:', component.Version]);
    const { Details: details } = component;
    const api = details['ApiVersion'];
    if (api !== undefined) {
      rows.push(['  API version:', `${api} (minimum version ${details['MinAPIVersion'] ?? ''})`]);
    }
    for (const [key, name] of [
      ['GitCommit', 'Git commit'],
      ['BuildTime', 'Built'],
    ] as const) {
      if ((details[key] ?? '') !== '') rows.push([`  ${name}:`, details[key] ?? '']);
    }
    if (details['Os'] !== undefined) {
      rows.push(['  OS/Arch:', `${details['Os']}/${details['Arch'] ?? ''}`]);
    }
  }
  return rows;
}

import { humanSizeBinary } from '../../../base/bytes.ts';
import { invalidArgument, isEngineError, messageOf } from '../../../base/errors.ts';
import { compileTemplate } from '../../../formats/gotemplate.ts';
import type { SystemInfo } from '../../../spec/docker/system.ts';
import { defineCommand, noArguments } from '../../command.ts';
import { EXIT, ExitError, sentenceOf } from '../../exit.ts';
import { text } from '../../flags.ts';
import { INSPECT_FORMAT_USAGE } from '../../inspect.ts';
import type { Session } from '../../session.ts';

const flags = { format: text('f', INSPECT_FORMAT_USAGE) };

export const command = defineCommand({
  use: '[OPTIONS]',
  args: noArguments,
  flags,
  run: async (session, { flags }) => {
    const client = await session.client();
    const { context } = session;
    const own = {
      Debug: session.globals.debug,
      Version: context.version,
      GitCommit: context.commit,
      Os: context.os,
      Arch: context.arch,
      Context: 'default',
      Plugins: [],
      Warnings: null,
    };
    let info: SystemInfo;
    try {
      info = await client.systemInfo();
    } catch (error) {
      if (!isEngineError(error) || flags.format !== '') throw error;
      await session.out(describeClient(session));
      throw new ExitError(
        EXIT.failure,
        `\nServer:\nERROR: ${sentenceOf(error)}\nerrors pretty printing info`,
        { cause: error },
      );
    }
    if (flags.format === '') {
      await session.out(`${describeClient(session)}\n${describe(info)}`);
      for (const warning of info.Warnings ?? []) await session.errorLine(warning);
    } else if (flags.format === 'json') {
      await session.line(JSON.stringify({ ...info, ClientInfo: own }));
    } else await session.line(execute(flags.format, { ...info, ClientInfo: own }));
    return undefined;
  },
});

function execute(format: string, data: object): string {
  try {
    return compileTemplate(format, { missingKey: 'error' }).execute(data);
  } catch (cause) {
    throw invalidArgument(`template parsing error: ${messageOf(cause)}`, { cause });
  }
}

function describeClient({ context, globals }: Session): string {
  return `Client:\n Version:    ${context.version}\n Context:    default\n Debug Mode: ${globals.debug}\n`;
}

/** Lines ` Name: value`; what is empty is left out. */
class Lines {
  #text = '';

  add(name: string, value: string | number | boolean | undefined, indent = 1): void {
    if (value === undefined || value === '') return;
    this.#text += `${' '.repeat(indent)}${name}: ${value}\n`;
  }

  list(name: string, values: readonly string[]): void {
    if (values.length === 0) return;
    this.#text += ` ${name}:\n${values.map((value) => `  ${value}\n`).join('')}`;
  }

  toString(): string {
    return this.#text;
  }
}

function describe(info: SystemInfo): string {
  const lines = new Lines();
  lines.add('Containers', info.Containers);
  lines.add('Running', info.ContainersRunning, 2);
  lines.add('Paused', info.ContainersPaused, 2);
  lines.add('Stopped', info.ContainersStopped, 2);
  lines.add('Images', info.Images);
  lines.add('Server Version', info.ServerVersion);
  lines.add('Storage Driver', info.Driver);
  for (const [name, value] of info.DriverStatus ?? []) lines.add(name, value, 2);
  lines.add('Logging Driver', info.LoggingDriver);
  lines.add('Cgroup Driver', info.CgroupDriver);
  lines.add('Cgroup Version', info.CgroupVersion);
  lines.list('Plugins', [
    `Volume: ${(info.Plugins.Volume ?? []).join(' ')}`,
    `Network: ${(info.Plugins.Network ?? []).join(' ')}`,
    `Log: ${(info.Plugins.Log ?? []).join(' ')}`,
  ]);
  lines.add('Swarm', info.Swarm?.LocalNodeState);
  lines.add(
    'Runtimes',
    Object.keys(info.Runtimes ?? {})
      .toSorted()
      .join(' '),
  );
  lines.add('Default Runtime', info.DefaultRuntime);
  lines.add('Init Binary', info.InitBinary);
  lines.add('runc version', info.RuncCommit?.ID);
  lines.add('init version', info.InitCommit?.ID);
  lines.list(
    'Security Options',
    (info.SecurityOptions ?? []).flatMap((option) => {
      const fields = option.split(',').map((field) => field.split('='));
      const name = fields.find(([key]) => key === 'name')?.[1] ?? option;
      const rest = fields.filter(([key]) => key !== 'name');
      return [
        name,
        ...rest.map(([key, value]) => ` ${key === 'profile' ? 'Profile' : key}: ${value}`),
      ];
    }),
  );
  lines.add('Kernel Version', info.KernelVersion);
  lines.add('Operating System', info.OperatingSystem);
  lines.add('OSType', info.OSType);
  lines.add('Architecture', info.Architecture);
  lines.add('CPUs', info.NCPU);
  lines.add('Total Memory', humanSizeBinary(info.MemTotal));
  lines.add('Name', info.Name);
  lines.add('ID', info.ID);
  lines.add('Docker Root Dir', info.DockerRootDir);
  lines.add('Debug Mode', info.Debug);
  if (info.Debug) {
    lines.add('File Descriptors', info.NFd, 2);
    lines.add('Goroutines', info.NGoroutines, 2);
    lines.add('System Time', info.SystemTime, 2);
    lines.add('EventsListeners', info.NEventsListener, 2);
  }
  lines.add('HTTP Proxy', info.HttpProxy);
  lines.add('HTTPS Proxy', info.HttpsProxy);
  lines.add('No Proxy', info.NoProxy);
  lines.list('Labels', info.Labels ?? []);
  lines.add('Experimental', info.ExperimentalBuild);
  const registries = info.RegistryConfig;
  const insecure = Object.values(registries?.IndexConfigs ?? {})
    .filter((index) => !index.Secure)
    .map((index) => index.Name);
  lines.list('Insecure Registries', [...insecure, ...(registries?.InsecureRegistryCIDRs ?? [])]);
  lines.list('Registry Mirrors', registries?.Mirrors ?? []);
  lines.add('Live Restore Enabled', info.LiveRestoreEnabled);
  lines.list(
    'Default Address Pools',
    (info.DefaultAddressPools ?? []).map((pool) => `Base: ${pool.Base}, Size: ${pool.Size}`),
  );
  lines.add('Firewall Backend', info.FirewallBackend?.Driver);
  return `Server:\n${lines.toString()}`;
}

import { atLeast, defineCommand } from '../../command.ts';
import { forEachName } from '../../each.ts';
import { EXIT, ExitError } from '../../exit.ts';
import { integer, text } from '../../flags.ts';
import { cpus, size } from '../../run/flags.ts';
import { restartPolicyOf } from '../../run/options.ts';

const flags = {
  'blkio-weight': integer('', 'Share of block IO, 10 to 1000; 0 is none', {
    unsigned: { max: 65_535 },
    type: 'uint16',
    shownDefault: '0',
  }),
  'cpu-period': integer('', 'Period of the CPU limit in microseconds'),
  'cpu-quota': integer('', 'CPU time in each period in microseconds'),
  'cpu-rt-period': integer('', 'Period of the real-time limit in microseconds'),
  'cpu-rt-runtime': integer('', 'Real-time CPU in each period in microseconds'),
  'cpu-shares': integer('c', 'Share of CPU time when CPUs are busy'),
  cpus: cpus(),
  'cpuset-cpus': text('', 'CPUs to run on (0-3, 0,1)'),
  'cpuset-mems': text('', 'Memory nodes to use (0-3, 0,1)'),
  'kernel-memory': size('', 'Kernel memory limit', { hidden: true }),
  memory: size('m', 'Memory limit'),
  'memory-reservation': size('', 'Memory that is kept when memory is short'),
  'memory-swap': size('', "Memory and swap together; '-1' for unlimited swap", { unlimited: true }),
  'pids-limit': integer('', 'Number of processes (-1 for unlimited)'),
  restart: text('', 'When to start it again after it exits'),
};

export const command = defineCommand({
  use: '[OPTIONS] CONTAINER [CONTAINER...]',
  args: atLeast(1),
  flags,
  run: async (session, { flags, given, args }) => {
    if (!Object.keys(flags).some((name) => given(name as keyof typeof flags))) {
      throw new ExitError(
        EXIT.failure,
        'you must provide one or more flags when using this command',
      );
    }
    const client = await session.client();
    const body = {
      BlkioWeight: flags['blkio-weight'],
      CpuPeriod: flags['cpu-period'],
      CpuQuota: flags['cpu-quota'],
      CpuRealtimePeriod: flags['cpu-rt-period'],
      CpuRealtimeRuntime: flags['cpu-rt-runtime'],
      CpuShares: flags['cpu-shares'],
      NanoCpus: flags.cpus,
      CpusetCpus: flags['cpuset-cpus'],
      CpusetMems: flags['cpuset-mems'],
      KernelMemory: flags['kernel-memory'],
      Memory: flags.memory,
      MemoryReservation: flags['memory-reservation'],
      MemorySwap: flags['memory-swap'],
      ...(given('pids-limit') ? { PidsLimit: flags['pids-limit'] } : {}),
      RestartPolicy: restartPolicyOf(flags.restart),
    };
    const warnings: string[] = [];
    await forEachName(session, args, async (id) => {
      const { Warnings } = await client.containerUpdate({ params: { id }, body });
      warnings.push(...(Warnings ?? []));
      return id;
    });
    if (warnings.length > 0) await session.line(warnings.join('\n'));
    return undefined;
  },
});

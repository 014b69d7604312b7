import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { run, runOk } from './processes.ts';
import { CHECKOUT, tool } from './tools.ts';

const CACHE = path.join(CHECKOUT, '.cache/debian');
/** In the order that they need each other. */
const MODULES = [
  ...['fs/quota/quota_tree', 'fs/quota/quota_v2', 'fs/overlayfs/overlay'],
  'drivers/block/loop',
];

/** Whether there is user-mode Linux, which script/setup unpacks where Debian has it: for x86 only. */
export const hasUml = existsSync(path.join(CACHE, 'usr/bin/linux.uml'));

/**
 * Runs a shell script as root in user-mode Linux 6.1, whose control groups are version 2 (cpu, io,
 * memory, pids): the machine's files read-only, a tmpfs at /tmp and /run, and filesystems of 300 MB
 * on disks, mounted at /tmp/xfs with `pquota` and /tmp/ext4 with `prjquota`. Gives what it wrote.
 */
export async function runInUml(script: string, timeoutMs = 90_000): Promise<string> {
  const folder = mkdtempSync(path.join(tmpdir(), 'coracle-uml-'));
  const at = (name: string): string => path.join(folder, name);
  try {
    for (const name of ['xfs.img', 'ext4.img']) await runOk('truncate', ['-s', '300M', at(name)]);
    await runOk(tool('mkfs.xfs'), ['-q', at('xfs.img')]);
    const features = ['-O', 'quota,project', '-E', 'quotatype=prjquota'];
    await runOk(tool('mkfs.ext4'), ['-q', ...features, at('ext4.img')]);
    const insmod = MODULES.flatMap((name) =>
      globSync(`usr/lib/uml/modules/*/kernel/${name}.ko`, { cwd: CACHE }),
    ).map((file) => `busybox insmod ${path.join(CACHE, file)}`);
    const init = `#!/bin/sh
export PATH=${process.env['PATH'] ?? ''}:/usr/sbin:/sbin CORACLE=${process.env['CORACLE'] ?? ''}
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t cgroup2 cgroup /sys/fs/cgroup
mkdir /dev/pts /dev/shm
mount -t devpts -o newinstance,ptmxmode=666 pts /dev/pts
mount -t tmpfs shm /dev/shm
busybox ip link set lo up
${insmod.join('\n')}
mkdir /tmp/xfs /tmp/ext4
mount -t xfs -o pquota /dev/ubda /tmp/xfs
mount -t ext4 -o prjquota /dev/ubdb /tmp/ext4
mkdir /tmp/out
mount -t hostfs -o ${folder} out /tmp/out
cd ${CHECKOUT}
{ ${script}
} >/tmp/out/said 2>&1
echo END >>/tmp/out/said
busybox poweroff -f
`;
    writeFileSync(at('init'), init, { mode: 0o755 });
    const kernel = ['mem=1G', 'rootfstype=hostfs', 'rootflags=/', 'ro', `init=${at('init')}`];
    const disks = [`ubda=${at('xfs.img')}`, `ubdb=${at('ext4.img')}`];
    const args = [...kernel, ...disks, 'con=null', 'con0=null', 'quiet'];
    const { stdout, stderr } = await run(tool('linux.uml'), args, { timeoutMs });
    const said = existsSync(at('said')) ? readFileSync(at('said'), 'utf8') : '';
    if (!said.endsWith('END\n')) throw new Error(`user-mode Linux: ${said}${stdout}${stderr}`);
    return said.slice(0, -4);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { EngineError } from '../base/errors.ts';
import { CAPABILITIES, DEFAULT_CAPABILITIES } from './capabilities.ts';
import { defaultSeccomp, userSeccomp } from './seccomp.ts';
import { ALLOWED, ALLOWED_ON, CONDITIONAL, DENIED, GATED } from './seccomp-syscalls.ts';

const FACTS = {
  architecture: 'amd64',
  capabilities: DEFAULT_CAPABILITIES,
  kernel: [6, 18],
} as const;

/** Names in the tables of the kernel's headers on this machine; none without them. */
function kernelNames(): string[] {
  const folder = '/usr/include/x86_64-linux-gnu/asm';
  return ['unistd_64.h', 'unistd_32.h'].flatMap((file) => {
    if (!existsSync(`${folder}/${file}`)) return [];
    const text = readFileSync(`${folder}/${file}`, 'utf8');
    return [...text.matchAll(/^#define __NR_(\w+)/gm)].map((m) => m[1] ?? '');
  });
}

describe('the lists', () => {
  const always = new Set([...ALLOWED, ...Object.values(ALLOWED_ON).flat(), ...CONDITIONAL]);
  const gated = new Set(Object.values(GATED).flat());
  const denied = new Set(Object.values(DENIED).flat());

  test('have an answer for every system call that the kernel headers name', () => {
    const unsorted = kernelNames().filter(
      (name) => !always.has(name) && !gated.has(name) && !denied.has(name),
    );
    assert.deepEqual(unsorted, []);
  });

  test('do not contradict each other', () => {
    assert.deepEqual(
      [...always].filter((name) => denied.has(name)),
      [],
    );
    assert.deepEqual(
      [...gated].filter((name) => denied.has(name)),
      [],
    );
    assert.deepEqual(
      ALLOWED.filter((name) => gated.has(name)),
      [],
    );
    assert.equal(new Set(ALLOWED).size, ALLOWED.length);
    for (const capability of Object.keys(GATED)) {
      assert.ok((CAPABILITIES as readonly string[]).includes(capability), capability);
    }
  });
});

describe('the default filter', () => {
  const allowed = (capabilities: readonly string[]): Set<string> => {
    const { syscalls } = defaultSeccomp({ ...FACTS, capabilities });
    return new Set(
      syscalls
        .filter(({ args }) => args === undefined)
        .flatMap(({ names, action }) => (action === 'SCMP_ACT_ALLOW' ? names : [])),
    );
  };

  test('denies what is not named', () => {
    const filter = defaultSeccomp(FACTS);
    assert.equal(filter.defaultAction, 'SCMP_ACT_ERRNO');
    assert.equal(filter.defaultErrnoRet, 1);
    for (const name of ['keyctl', 'kexec_load', 'io_uring_setup', 'userfaultfd', 'mount', 'bpf']) {
      assert.ok(!allowed(DEFAULT_CAPABILITIES).has(name), name);
    }
    for (const name of ['read', 'openat2', 'futex_waitv', 'ptrace', 'chroot', 'modify_ldt']) {
      assert.ok(allowed(DEFAULT_CAPABILITIES).has(name), name);
    }
  });

  test('opens with capabilities', () => {
    for (const [capability, name] of [
      ['CAP_SYS_ADMIN', 'mount'],
      ['CAP_SYS_TIME', 'clock_settime'],
      ['CAP_SYS_MODULE', 'init_module'],
      ['CAP_BPF', 'bpf'],
    ] as const) {
      assert.ok(!allowed([]).has(name));
      assert.ok(allowed([capability]).has(name), name);
    }
  });

  test('lets clone through but for namespaces, and sends clone3 back to clone', () => {
    const rules = defaultSeccomp(FACTS).syscalls;
    const clone = rules.find(({ names }) => names.includes('clone'));
    assert.deepEqual(clone?.args, [
      { index: 0, value: 0x7e020000, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' },
    ]);
    assert.deepEqual(rules.find(({ names }) => names.includes('clone3'))?.errnoRet, 38);
    const admin = defaultSeccomp({ ...FACTS, capabilities: ['CAP_SYS_ADMIN'] }).syscalls;
    assert.equal(admin.filter(({ names }) => names.includes('clone3')).length, 1);
  });

  test('knows the architectures of the project', () => {
    for (const architecture of ['amd64', 'arm64', 'arm', 'riscv64']) {
      assert.ok((defaultSeccomp({ ...FACTS, architecture }).architectures ?? []).length > 0);
    }
  });
});

describe("a user's filter", () => {
  test('is resolved for this host', () => {
    const text = JSON.stringify({
      defaultAction: 'SCMP_ACT_ERRNO',
      archMap: [
        { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] },
        { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: [] },
      ],
      syscalls: [
        { names: ['read'], action: 'SCMP_ACT_ALLOW' },
        { name: 'write', action: 'SCMP_ACT_ALLOW' },
        { names: ['mount'], action: 'SCMP_ACT_ALLOW', includes: { caps: ['CAP_SYS_ADMIN'] } },
        { names: ['clone'], action: 'SCMP_ACT_ALLOW', excludes: { caps: ['CAP_SYS_ADMIN'] } },
        { names: ['ptrace'], action: 'SCMP_ACT_ALLOW', includes: { minKernel: '4.8' } },
        { names: ['new'], action: 'SCMP_ACT_ALLOW', includes: { minKernel: '99.1' } },
        { names: ['arm_x'], action: 'SCMP_ACT_ALLOW', includes: { arches: ['arm'] } },
      ],
    });
    const filter = userSeccomp(text, FACTS);
    assert.deepEqual(filter.architectures, ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86']);
    assert.deepEqual(
      filter.syscalls.flatMap(({ names }) => names),
      ['read', 'write', 'clone', 'ptrace'],
    );
  });

  test('that is no profile is refused', () => {
    for (const text of [
      '',
      '{',
      '[]',
      '{"syscalls":[{"name":"a","names":["b"]}]}',
      '{"syscalls":5}',
    ]) {
      assert.throws(() => userSeccomp(text, FACTS), EngineError, text);
    }
  });
});

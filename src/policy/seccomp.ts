import { invalidArgument } from '../base/errors.ts';
import { array, type Decoded, decodeJson, int, nullable, string, struct } from '../spec/decode.ts';
import type { RuntimeSeccomp, SeccompArgument, SeccompRule } from '../spec/oci/runtime.ts';
import { ALLOWED, ALLOWED_ON, GATED } from './seccomp-syscalls.ts';

/**
 * The system call filter of a container: the default one, or the user's (`--security-opt
 * seccomp=FILE`) in Docker's profile format, which is OCI's with conditions. Source: docs.docker.com
 * seccomp security profiles; runtime-spec config-linux.md, seccomp.
 */

/** What a filter depends on. */
export type SeccompFacts = {
  /** Go's name of the architecture: amd64, arm64, arm, riscv64. */
  readonly architecture: string;
  readonly capabilities: readonly string[];
  readonly kernel: readonly [major: number, minor: number];
};

/** libseccomp's names: the architecture and those whose programs its kernel runs too. */
const ARCHITECTURES: Readonly<Record<string, readonly string[]>> = {
  amd64: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
  arm64: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
  arm: ['SCMP_ARCH_ARM'],
  '386': ['SCMP_ARCH_X86'],
  riscv64: ['SCMP_ARCH_RISCV64'],
};

const ALLOW = 'SCMP_ACT_ALLOW';
const EPERM = 1;
const ENOSYS = 38;
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET. */
const CLONE_NAMESPACES = 0x7e020000;
const AF_VSOCK = 40;
/** PER_LINUX, PER_LINUX32, UNAME26 with either, and "tell me". */
const PERSONALITIES = [0x0, 0x8, 0x20000, 0x20008, 0xffffffff];

/** The filter of a container that names none. */
export function defaultSeccomp(facts: SeccompFacts): RuntimeSeccomp {
  const capabilities = new Set(facts.capabilities);
  const names = new Set([...ALLOWED, ...(ALLOWED_ON[facts.architecture] ?? [])]);
  for (const [capability, gated] of Object.entries(GATED)) {
    if (capabilities.has(capability)) for (const name of gated) names.add(name);
  }
  const when = (args: SeccompArgument): Pick<SeccompRule, 'action' | 'args'> => ({
    action: ALLOW,
    args: [args],
  });
  const syscalls: SeccompRule[] = [
    { names: [...names], action: ALLOW },
    ...PERSONALITIES.map((value) => ({
      names: ['personality'],
      ...when({ index: 0, value, op: 'SCMP_CMP_EQ' }),
    })),
    // A socket to the hypervisor knows no network namespace.
    { names: ['socket'], ...when({ index: 0, value: AF_VSOCK, op: 'SCMP_CMP_NE' }) },
  ];
  if (!capabilities.has('CAP_SYS_ADMIN')) {
    syscalls.push(
      {
        names: ['clone'],
        ...when({ index: 0, value: CLONE_NAMESPACES, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }),
      },
      // Its flags lie in memory, where a filter cannot look: libc then falls back to clone.
      { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
    );
  }
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: EPERM,
    architectures: ARCHITECTURES[facts.architecture] ?? [],
    syscalls,
  };
}

const condition = struct('Filter', {
  caps: array(string),
  arches: array(string),
  minKernel: string,
});
const profile = struct('Seccomp', {
  defaultAction: string,
  defaultErrnoRet: nullable(int),
  architectures: array(string),
  archMap: array(struct('Architecture', { architecture: string, subArchitectures: array(string) })),
  flags: array(string),
  listenerPath: string,
  listenerMetadata: string,
  syscalls: array(
    struct('Syscall', {
      name: string,
      names: array(string),
      action: string,
      errnoRet: nullable(int),
      args: array(nullable(struct('Arg', { index: int, value: int, valueTwo: int, op: string }))),
      includes: condition,
      excludes: condition,
    }),
  ),
});
type Condition = Decoded<typeof condition>;

/**
 * The filter of a user's profile on this host.
 * @throws invalidArgument with Docker's texts
 */
export function userSeccomp(text: string, facts: SeccompFacts): RuntimeSeccomp {
  let parsed: Decoded<typeof profile>;
  try {
    parsed = decodeJson(profile, text);
  } catch (cause) {
    throw invalidArgument(
      `opening seccomp profile failed: ${cause instanceof Error ? cause.message : ''}`,
      { cause },
    );
  }
  if (parsed.architectures.length > 0 && parsed.archMap.length > 0) {
    throw invalidArgument(
      "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'",
    );
  }
  const own = ARCHITECTURES[facts.architecture]?.[0];
  const mapped = parsed.archMap.find((each) => each.architecture === own);
  const architectures =
    mapped === undefined ? parsed.architectures : [mapped.architecture, ...mapped.subArchitectures];
  const syscalls = parsed.syscalls.flatMap((rule): SeccompRule[] => {
    if (rule.name !== '' && rule.names.length > 0) {
      throw invalidArgument(
        "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'",
      );
    }
    if (!included(rule.includes, facts) || excluded(rule.excludes, facts)) return [];
    const args = rule.args.flatMap((each) => (each === null ? [] : [each]));
    return [
      {
        names: rule.name === '' ? rule.names : [rule.name],
        action: rule.action,
        ...(rule.errnoRet === null ? {} : { errnoRet: rule.errnoRet }),
        ...(args.length === 0 ? {} : { args }),
      },
    ];
  });
  return {
    defaultAction: parsed.defaultAction,
    ...(parsed.defaultErrnoRet === null ? {} : { defaultErrnoRet: parsed.defaultErrnoRet }),
    ...(architectures.length === 0 ? {} : { architectures }),
    ...(parsed.flags.length === 0 ? {} : { flags: parsed.flags }),
    ...(parsed.listenerPath === '' ? {} : { listenerPath: parsed.listenerPath }),
    syscalls,
  };
}

/** Every condition that is stated holds; of architectures one is enough. */
function included(wanted: Condition, facts: SeccompFacts): boolean {
  if (wanted.arches.length > 0 && !wanted.arches.includes(facts.architecture)) return false;
  if (!wanted.caps.every((each) => facts.capabilities.includes(each))) return false;
  return wanted.minKernel === '' || kernelIsAtLeast(wanted.minKernel, facts);
}

/** Any condition that is stated holds. */
function excluded(unwanted: Condition, facts: SeccompFacts): boolean {
  return (
    unwanted.arches.includes(facts.architecture) ||
    unwanted.caps.some((each) => facts.capabilities.includes(each)) ||
    (unwanted.minKernel !== '' && kernelIsAtLeast(unwanted.minKernel, facts))
  );
}

function kernelIsAtLeast(text: string, facts: SeccompFacts): boolean {
  const m = /^(\d+)\.(\d+)$/.exec(text);
  if (m === null) throw invalidArgument(`invalid kernel version: ${text}`);
  const [major, minor] = facts.kernel;
  return major > Number(m[1]) || (major === Number(m[1]) && minor >= Number(m[2]));
}

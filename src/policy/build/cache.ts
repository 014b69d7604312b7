import { createHash } from 'node:crypto';
import type { ContainerConfig } from '../../spec/docker/container.ts';

/** When a step need not be carried out again. Rules: moby `image/cache/compare.go`. */

/**
 * True when an image that a step with the config `made` left is what a step with `wanted` would
 * make of the same parent.
 */
export function isSameStep(made: ContainerConfig, wanted: ContainerConfig): boolean {
  return (
    !made.OpenStdin &&
    !wanted.OpenStdin &&
    made.User === wanted.User &&
    made.Tty === wanted.Tty &&
    made.WorkingDir === wanted.WorkingDir &&
    isSameList(made.Cmd ?? [], wanted.Cmd ?? []) &&
    isSameList(made.Env, wanted.Env) &&
    isSameList(made.Entrypoint ?? [], wanted.Entrypoint ?? []) &&
    isSameList(pairsOf(made.Labels), pairsOf(wanted.Labels)) &&
    isSameList(Object.keys(made.ExposedPorts).sort(), Object.keys(wanted.ExposedPorts).sort()) &&
    isSameList(Object.keys(made.Volumes).sort(), Object.keys(wanted.Volumes).sort())
  );
}

function isSameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each, i) => each === b[i]);
}

function pairsOf(labels: Readonly<Record<string, string>>): string[] {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .sort();
}

/** What stands in the history for the files that an instruction copies. */
export function sourcesDigest(digests: readonly string[]): string {
  const [only = ''] = digests;
  if (digests.length === 1) return only;
  return `multi:${createHash('sha256').update(digests.join(',')).digest('hex')}`;
}

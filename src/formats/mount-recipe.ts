/**
 * Mount recipes: how to mount a container's filesystem without the engine. `native/mobynit.c` reads
 * them in an initramfs, so they are as plain as can be:
 *
 *   coracle-mount 1 overlay       the format, its version, and the filesystem (or `bind`)
 *   target=containers/ID/rootfs   where it is mounted
 *   lowerdir+=layers/abc/diff     a parameter of fsconfig(2) on each line, in order
 *   …
 *   end                           the last line: a file that was cut short has none
 *
 * Each line ends with a newline. Paths are relative to the data root, so that it may be mounted
 * anywhere; they are made of `A-Z a-z 0-9 . _ - /`, without `..`. A `bind` recipe has one `source=`.
 */

/** A filesystem to be mounted; paths are relative to the data root. */
export type MountRecipe = {
  readonly type: 'overlay' | 'bind';
  readonly target: string;
  readonly parameters: readonly (readonly [key: string, value: string])[];
};

/** The recipe's text. */
export function encodeMountRecipe({ type, target, parameters }: MountRecipe): string {
  const lines = [['target', target] as const, ...parameters].map(([key, value]) => {
    if (!/^[\w./-]+$/.test(value) || value.startsWith('/') || value.split('/').includes('..')) {
      throw new Error(`no value for a mount recipe: ${key}=${value}`);
    }
    return `${key}=${value}\n`;
  });
  return `coracle-mount 1 ${type}\n${lines.join('')}end\n`;
}

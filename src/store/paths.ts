import path from 'node:path';

/**
 * Where things lie. The data root is on flash and survives; the exec root is a tmpfs and a reboot
 * voids it.
 *
 *   data root /var/lib/coracle            exec root /run/coracle
 *     coracle.db      all metadata          coracle.pid, lock
 *       -reserve        room for its log
 *     layers/DIR/     one layer:            containers/ID/
 *       diff/           its files             rootfs      mount point of the container
 *       tree.erofs      or their names        bundle/     config.json for the runtime
 *       headers         its tar headers
 *     staging/OP/     work in progress        hosts hostname resolv.conf
 *     partial/HEX/    layers cut off half-way shim.sock spec pid exit …     (the shim's)
 *     objects/        shared contents         exec/EXECID/ …
 *     containers/ID/                          netns/ID
 *       upper/ work/    the writable layer  netns/      bind-mounted network namespaces
 *       mount rootfs/   of a bare container: its recipe and mount point
 *       ID-json.log     its log
 *     volumes/NAME/_data
 */
export type DataRoot = {
  readonly root: string;
  readonly database: string;
  readonly layers: string;
  readonly staging: string;
  readonly partial: string;
  readonly objects: string;
  readonly containers: string;
  readonly volumes: string;
};

export type ExecRoot = {
  readonly root: string;
  readonly containers: string;
  readonly netns: string;
  /** Where the data root is mounted with mapped owners (`--userns-remap`). */
  readonly mapped: string;
};

/** The data root's folders; `root` is absolute. */
export function dataRootAt(root: string): DataRoot {
  const at = (name: string): string => path.join(root, name);
  return {
    root,
    database: at('coracle.db'),
    layers: at('layers'),
    staging: at('staging'),
    partial: at('partial'),
    objects: at('objects'),
    containers: at('containers'),
    volumes: at('volumes'),
  };
}

/** The exec root's folders; `root` is absolute. */
export function execRootAt(root: string): ExecRoot {
  const at = (name: string): string => path.join(root, name);
  return { root, containers: at('containers'), netns: at('netns'), mapped: at('mapped') };
}

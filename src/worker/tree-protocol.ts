import type { UserRemap } from '../policy/user-remap.ts';

/**
 * What the daemon and its workers say to each other about a container's files. They are touched in
 * a worker only: a filesystem that a container has mounted may never answer.
 */

/** A container's filesystem as it is to be seen. */
export type TreeView = {
  /** The root: `/proc/PID/root` of a running container, else where its layers are mounted. */
  readonly root: string;
  /** For one that does not run: what its start would mount below the root, parents first. */
  readonly binds: readonly {
    readonly source: string;
    readonly destination: string;
    readonly readOnly: boolean;
  }[];
  /** The files' owners are shown as these users of the host; undefined when they are the container's. */
  readonly users?: UserRemap | undefined;
};

/** A path's `stat`, as `docker cp` asks for it. */
export type TreeStat = {
  readonly name: string;
  readonly size: number;
  /** st_mode. */
  readonly mode: number;
  readonly mtimeNs: string;
  /** '' when it is no symlink. */
  readonly linkTarget: string;
};

/** The job `tree-pack`: first one report, a {@link TreeStat}; then, unless `statOnly`, a tar on stdout. */
export type TreePackInput = {
  readonly view: TreeView;
  /** As the user wrote it; `''` is the root. */
  readonly path: string;
  readonly statOnly: boolean;
  /**
   * `copy` names entries by the last part of the path, as `docker cp` wants them; `export` by
   * their path below the root, and stays on the root's own filesystem.
   */
  readonly naming: 'copy' | 'export';
};

/** The job `tree-unpack`: a tar from stdin is extracted into a folder. */
export type TreeUnpackInput = {
  readonly view: TreeView;
  readonly path: string;
  /** The root is read-only for the container. */
  readonly readOnlyRoot: boolean;
  readonly noOverwriteDirNonDir: boolean;
  /** All files become this user's; undefined keeps what the archive says. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
};

/** The jobs `tree-changes` (a list as its result) and `tree-diff` (a layer's tar on stdout). */
export type TreeDiffInput = {
  /** The writable layer. */
  readonly upper: string;
  /** That is a whole copy of what is below, with the changes in it (vfs). */
  readonly isCopy: boolean;
  /** The layers below it, top first. */
  readonly lower: readonly string[];
  /** Where stubs in them have their contents. */
  readonly data: readonly string[];
  /** All of them, mounted. */
  readonly merged: string;
  /** Of `merged`, as in {@link TreeView}. */
  readonly users?: UserRemap | undefined;
  /** Paths that the engine made and that are nobody's change: `/.dockerenv` … */
  readonly ignored: readonly string[];
};

/** `kind`: 0 modified, 1 added, 2 deleted. */
export type TreeChange = { readonly path: string; readonly kind: 0 | 1 | 2 };

/** `detail.missing` of a notFound: the path, so that the daemon can say it in Docker's words. */
export const MISSING = 'missing';

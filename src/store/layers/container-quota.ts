import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { errnoOf, invalidArgument, messageOf, unavailable } from '../../base/errors.ts';
import { newShortName } from '../../base/id.ts';
import { limitProject, projectOf, setProject } from '../../kernel/project-quota.ts';
import type { LayerStoreContext } from './catalog.ts';

/** Limits on what containers write, by quotas of projects: one project for each limited container. */
export type ContainerQuota = {
  /**
   * Limits what the folders of a container hold together; they are empty yet.
   * @throws invalidArgument where the filesystem cannot
   */
  readonly limit: (folders: readonly string[], sizeBytes: number) => void;
  /** Takes the folders out of their project, if they have one, so that they can be moved away. */
  readonly release: (folders: readonly string[]) => void;
};

/** Projects that an administrator numbers by hand are low. */
const FIRST_PROJECT = 1 << 20;

/**
 * Opens the quotas of a data root.
 * @param sizeBytes what the daemon limits each container to; 0 is unlimited
 * @throws unavailable when the daemon has a limit that the filesystem cannot keep
 */
export function containerQuota(context: LayerStoreContext, sizeBytes: number): ContainerQuota {
  const { sys, dataRoot, log } = context;
  let last: number | undefined;
  const next = (): number => {
    last = (last ?? lastProject(context)) + 1;
    return last;
  };

  if (sizeBytes > 0) {
    const problem = quotaProblem(context);
    if (problem !== undefined) {
      throw unavailable(
        `Storage option overlay2.size not supported. Filesystem does not support Project Quota: ${problem}. Mount xfs with pquota, or ext4 with prjquota`,
      );
    }
  }

  return {
    limit: (folders, bytes) => {
      const project = next();
      try {
        limitProject(sys, dataRoot.containers, { project, bytes });
        for (const folder of folders) setProject(sys, folder, project);
      } catch (cause) {
        throw invalidArgument(
          "--storage-opt is supported only for overlay over xfs with 'pquota' mount option, or ext4 with 'prjquota'",
          { cause, detail: { problem: messageOf(cause) } },
        );
      }
    },
    release: (folders) => {
      const project = folders.reduce((a, b) => Math.max(a, findProject(context, b)), 0);
      if (project < FIRST_PROJECT) return;
      const outer = findProject(context, dataRoot.containers);
      try {
        for (const folder of folders) setProject(sys, folder, outer);
        limitProject(sys, dataRoot.containers, { project, bytes: 0 });
      } catch (error) {
        // The filesystem was mounted without quotas meanwhile: there is nothing to take away.
        log.warn('cannot take the limit of a container away', { project, error: messageOf(error) });
      }
    },
  };
}

/** The highest number that a container has. */
function lastProject(context: LayerStoreContext): number {
  const { containers } = context.dataRoot;
  const projects = readdirSync(containers).map((id) =>
    findProject(context, path.join(containers, id, 'upper')),
  );
  return projects.reduce((a, b) => Math.max(a, b), FIRST_PROJECT);
}

/** 0 for a folder that is not there, and where there are no projects. */
function findProject({ sys }: LayerStoreContext, folder: string): number {
  try {
    return projectOf(sys, folder);
  } catch (error) {
    const none = ['ENOENT', 'ENOTDIR', 'ENOTTY', 'EOPNOTSUPP', 'EINVAL', 'ENOSYS'];
    if (none.includes(errnoOf(error) ?? '')) return 0;
    throw error;
  }
}

/** Tries a limit; says what goes wrong. */
function quotaProblem({ sys, dataRoot, random }: LayerStoreContext): string | undefined {
  const trial = path.join(dataRoot.staging, `quota-${newShortName(random, 8)}`);
  try {
    mkdirSync(trial, { recursive: true });
    limitProject(sys, trial, { project: FIRST_PROJECT, bytes: 1 << 20 });
    setProject(sys, trial, FIRST_PROJECT);
    limitProject(sys, trial, { project: FIRST_PROJECT, bytes: 0 });
    return undefined;
  } catch (error) {
    return messageOf(error);
  } finally {
    rmSync(trial, { recursive: true, force: true });
  }
}

import type { JobBody, JobName } from './job.ts';

/**
 * The body of each job, loaded when a worker runs it: a worker carries only its own code. A new
 * job is a name in job.ts, a file in jobs/ and a line here.
 */
export const JOBS: Readonly<Partial<Record<JobName, () => Promise<JobBody>>>> = {
  registry: async () => (await import('./jobs/registry.ts')).registry,
  pull: async () => (await import('./jobs/pull.ts')).pull,
  push: async () => (await import('./jobs/push.ts')).push,
  load: async () => (await import('./jobs/load.ts')).load,
  save: async () => (await import('./jobs/save.ts')).save,
  usage: async () => (await import('./jobs/usage.ts')).usage,
  verify: async () => (await import('./jobs/verify.ts')).verify,
  'tree-pack': async () => (await import('./jobs/tree-pack.ts')).treePack,
  'tree-unpack': async () => (await import('./jobs/tree-unpack.ts')).treeUnpack,
  'tree-changes': async () => (await import('./jobs/tree-diff.ts')).treeChanges,
  'tree-diff': async () => (await import('./jobs/tree-diff.ts')).treeDiff,
  'delta-inspect': async () => (await import('./jobs/delta-inspect.ts')).deltaInspect,
  'delta-layout': async () => (await import('./jobs/delta-layout.ts')).deltaLayout,
  'delta-plan': async () => (await import('./jobs/delta-plan.ts')).deltaPlan,
  'delta-publish': async () => (await import('./jobs/delta-publish.ts')).deltaPublish,
  'delta-create': async () => (await import('./jobs/delta-create.ts')).deltaCreate,
  build: async () => (await import('./jobs/build.ts')).build,
  import: async () => (await import('./jobs/import.ts')).importTar,
};

import { setTimeout as sleep } from 'node:timers/promises';
import { conflict } from '../base/errors.ts';
import { type JobTable, runWorker } from './run.ts';

/** A worker for workers.test.ts: each job shows one way in which a worker behaves. */
const jobs: JobTable = {
  pull: async () => async (input, context) => {
    context.report({ at: 'start' });
    const answer = await context.ask({ double: input });
    context.report({ at: 'end' });
    return { answer, execArgv: process.execArgv, options: process.env['NODE_OPTIONS'] ?? '' };
  },
  push: async () => async () => {
    throw conflict('taken', { detail: { errno: 'EEXIST', count: 2 } });
  },
  load: async () => async (_input, context) => {
    let bytes = 0;
    for await (const chunk of context.stdin) bytes += (chunk as Buffer).length;
    return { bytes };
  },
  save: async () => async (input, context) => {
    const { bytes } = input as { bytes: number };
    for (let sent = 0; sent < bytes; sent += 65_536) {
      if (!context.stdout.write(Buffer.alloc(65_536, 1))) {
        await new Promise((resolve) => context.stdout.once('drain', resolve));
      }
    }
    return 'saved';
  },
  import: async () => async () => {
    process.kill(process.pid, 'SIGSEGV');
    await sleep(60_000);
    return null;
  },
  'tree-diff': async () => async () => {
    process.exit(7);
  },
  registry: async () => async (_input, context) => {
    context.report({ pid: process.pid });
    await sleep(60_000);
    return null;
  },
};

process.exit(await runWorker(jobs));

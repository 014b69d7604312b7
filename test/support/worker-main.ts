import { runWorker } from '../../src/worker/run.ts';

process.exit(await runWorker());

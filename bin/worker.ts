import { runWorker } from '../src/worker/run.ts';

/** Runs one job of the daemon's and exits, so that all its memory is given back. */
export function main(): void {
  void runWorker().then((code) => process.exit(code));
}

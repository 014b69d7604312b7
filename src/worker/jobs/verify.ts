import { openSyscalls } from '../../kernel/ffi.ts';
import type { JobContext } from '../job.ts';
import { verifyLayer } from '../layer-verify.ts';
import type { VerifyInput, VerifyReport } from '../verify-protocol.ts';

/** The job `verify`: reads layers one after the other and reports about each. */
export async function verify(input: unknown, context: JobContext): Promise<null> {
  const sys = openSyscalls();
  for (const layer of (input as VerifyInput).layers) {
    const { diffId } = layer;
    const say = (report: VerifyReport): void => context.report(report);
    say({ diffId, state: 'begun' });
    const why = await verifyLayer({ sys, ...layer }, context.signal);
    say(why === undefined ? { diffId, state: 'whole' } : { diffId, state: 'damaged', why });
  }
  return null;
}

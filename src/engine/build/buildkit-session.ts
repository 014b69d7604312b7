import type { HijackCall } from '../call.ts';
import type { Engine } from '../engine.ts';

/**
 * `POST /session`: a client that takes this for BuildKit opens a connection for it to ask back, and
 * shows why that failed instead of why its build did. So the connection is taken, and ends with the
 * client's: the build itself is refused with what to do.
 */
export async function buildSession(
  _engine: Engine,
  _args: unknown,
  call: HijackCall,
): Promise<void> {
  const connection = await call.hijack({ multiplexed: false });
  connection.on('error', () => undefined); // 'close' follows
  connection.resume();
  connection.once('end', () => connection.end());
}

/**
 * Entry of the bundle and of the single executable: finds out which program it was called as, and
 * loads that one only.
 *
 *   coracle …            the client
 *   coracled …           the daemon, also as `coracle daemon …`; it then starts itself as the engine
 *   coracle worker …     a heavy job of the daemon's; not for users
 */
import path from 'node:path';
import { loadPart, type PartName, STAGE } from './parts.ts';

function choose(): { part: PartName; args: string[]; name: string } {
  const args = process.argv.slice(2);
  // The launcher of a checkout says by which name it was called; an executable sees it itself.
  const name = path.basename(process.env['CORACLE_ARGV0'] ?? process.argv0);
  delete process.env['CORACLE_ARGV0'];
  const daemon = process.env[STAGE] === undefined ? 'daemon' : 'engine';
  // First: where `coracled` is a copy and no link, the daemon's workers are called so as well.
  if (args[0] === 'worker') return { part: 'worker', args: args.slice(1), name };
  if (name === 'coracled') return { part: daemon, args, name };
  if (args[0] === 'daemon') return { part: daemon, args: args.slice(1), name };
  return { part: 'cli', args, name };
}

const { part, args, name } = choose();
loadPart(part).main(args, name);

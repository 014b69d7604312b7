import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** A fresh folder, removed when disposed. `using folder = temporaryFolder('pull')`. */
export function temporaryFolder(name: string): { readonly path: string } & Disposable {
  const folder = mkdtempSync(path.join(tmpdir(), `coracle-${name}-`));
  return {
    path: folder,
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

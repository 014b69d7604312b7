import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** A certificate with its key, in PEM. */
export type Certified = { readonly key: string; readonly cert: string };

/** A certificate authority of a test, in a folder of its own. */
export class Authority {
  readonly cert: string;
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    const made = ['-keyout', this.#at('ca.key'), '-out', this.#at('ca.pem')];
    openssl(['req', '-x509', ...NEW_KEY, '-days', '2', '-subj', '/CN=test authority', ...made]);
    this.cert = readFileSync(this.#at('ca.pem'), 'utf8');
  }

  /** A certificate for names as openssl writes them: `DNS:registry.test`, `IP:10.0.0.1`. */
  issue(name: string, subjectAltName: string): Certified {
    const [key, request, cert] = [`${name}.key`, `${name}.csr`, `${name}.pem`].map((each) =>
      this.#at(each),
    ) as [string, string, string];
    const extensions = this.#at(`${name}.ext`);
    writeFileSync(extensions, `subjectAltName=${subjectAltName}\n`);
    openssl(['req', ...NEW_KEY, '-subj', `/CN=${name}`, '-keyout', key, '-out', request]);
    openssl([
      ...['x509', '-req', '-in', request, '-out', cert, '-days', '2', '-extfile', extensions],
      ...['-CA', this.#at('ca.pem'), '-CAkey', this.#at('ca.key'), '-CAcreateserial'],
    ]);
    return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
  }

  #at(name: string): string {
    return path.join(this.#folder, name);
  }
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

function openssl(args: readonly string[]): void {
  execFileSync('openssl', [...args], { stdio: 'ignore' });
}

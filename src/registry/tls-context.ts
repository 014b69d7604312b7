import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import { errnoOf, invalidArgument } from '../base/errors.ts';

/**
 * Certificates for a registry, as Docker keeps them: in `certs.d/HOST[:PORT]/`, `*.crt` are
 * authorities beside the machine's own, `NAME.cert` with `NAME.key` is a client certificate.
 */
export const CERTIFICATE_FOLDERS: readonly string[] = [
  '/etc/coracle/certs.d',
  '/etc/docker/certs.d',
];

/** Where distributions keep the machine's authorities (Go's crypto/x509, root_linux.go). */
const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** The machine's certificate authorities in PEM; Node's own where the machine has none. */
export function systemAuthorities(): string[] {
  for (const file of SYSTEM_BUNDLES) {
    const text = readIfThere(file);
    if (text?.includes('BEGIN CERTIFICATE')) return [text];
  }
  return [...rootCertificates];
}

/**
 * The TLS settings for a registry.
 * @throws invalidArgument for a client certificate without key, or files that cannot be parsed
 */
export function tlsContextFor(
  domain: string,
  folders: readonly string[] = CERTIFICATE_FOLDERS,
): SecureContext {
  const ca: string[] = [];
  const cert: string[] = [];
  const key: string[] = [];
  for (const folder of folders) {
    const directory = path.join(folder, domain);
    for (const name of listIfThere(directory)) {
      const file = path.join(directory, name);
      if (name.endsWith('.crt')) ca.push(readFileSync(file, 'utf8'));
      else if (name.endsWith('.cert')) {
        const keyName = `${name.slice(0, -'.cert'.length)}.key`;
        const keyText = readIfThere(path.join(directory, keyName));
        if (keyText === undefined) {
          throw invalidArgument(
            `missing key ${keyName} for client certificate ${name}. CA certificates must use the extension .crt`,
          );
        }
        cert.push(readFileSync(file, 'utf8'));
        key.push(keyText);
      } else if (name.endsWith('.key')) {
        const certName = `${name.slice(0, -'.key'.length)}.cert`;
        if (readIfThere(path.join(directory, certName)) === undefined) {
          throw invalidArgument(`Missing client certificate ${certName} for key ${name}`);
        }
      }
    }
  }
  try {
    return createSecureContext({ ca: [...systemAuthorities(), ...ca], cert, key });
  } catch (cause) {
    throw invalidArgument(`cannot use the certificates for ${domain}: ${String(cause)}`, { cause });
  }
}

function listIfThere(directory: string): string[] {
  // A domain is validated (no slashes), so this stays below the folder.
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return [];
    throw error;
  }
}

import { invalidArgument } from '../base/errors.ts';

/** A namespace mode of HostConfig, apart: `container:ID` → container, ID. */
export type NamespaceMode = { readonly kind: string; readonly container: string };

/**
 * @param what PID, IPC, UTS … for the error's text
 * @param kinds the words that are allowed; `container` stands for `container:ID`
 * @throws invalidArgument
 */
export function parseNamespaceMode(
  what: string,
  mode: string,
  kinds: readonly string[],
): NamespaceMode {
  const container = /^container:(.+)$/s.exec(mode)?.[1];
  const kind = container === undefined ? mode : 'container';
  if (!kinds.includes(kind) || mode === 'container') {
    throw invalidArgument(`invalid ${what} mode: ${mode}`);
  }
  return { kind, container: container ?? '' };
}

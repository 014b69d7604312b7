import assert from 'node:assert/strict';
import type { ProgressMessage } from '../../src/spec/docker/progress.ts';
import type { Box } from './box.ts';
import { type LayerEntry, layerTar } from './images.ts';

/** What a build said and made. */
export type Built = {
  readonly status: number;
  /** All text of the stream. */
  readonly text: string;
  readonly error: ProgressMessage['errorDetail'];
  /** The message of an error answer; '' when there was none. */
  readonly refusal: string;
  readonly id: string;
};

/** A file of a context. */
export function file(name: string, content: string, more: Partial<LayerEntry> = {}): LayerEntry {
  return { name, content, ...more };
}

/** Builds a Dockerfile's lines, in which BASE stands for the box's image, with files beside it. */
export async function build(
  box: Box,
  lines: readonly string[],
  files: readonly LayerEntry[] = [],
  query: Readonly<Record<string, string>> = {},
): Promise<Built> {
  const text = lines.map((line) => line.replaceAll('BASE', box.image)).join('\n');
  return await buildTar(box, await layerTar([file('Dockerfile', text), ...files]), query);
}

/** Builds a context that is a tar already. Its RUNs have no network. */
export async function buildTar(
  box: Box,
  context: Uint8Array,
  query: Readonly<Record<string, string>> = {},
  headers: Readonly<Record<string, string>> = {},
): Promise<Built> {
  const target = `/build?${new URLSearchParams({ networkmode: 'none', ...query })}`;
  const answer = await box.daemon.api('POST', target, context, {
    'content-type': 'application/x-tar',
    ...headers,
  });
  if (answer.status !== 200) {
    const { message } = answer.json() as { message: string };
    return { status: answer.status, text: '', error: undefined, refusal: message, id: '' };
  }
  const messages = answer.text
    .split('\r\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as ProgressMessage);
  const aux = messages.findLast((each) => each.aux !== undefined)?.aux as
    | { ID: string }
    | undefined;
  return {
    status: answer.status,
    text: messages.map(({ stream = '' }) => stream).join(''),
    error: messages.findLast((each) => each.errorDetail !== undefined)?.errorDetail,
    refusal: '',
    id: aux?.ID ?? '',
  };
}

/** {@link build} that must go well. */
export async function buildWell(...args: Parameters<typeof build>): Promise<Built> {
  const built = await build(...args);
  assert.equal(built.refusal, '');
  assert.equal(built.error, undefined, `${built.text}${JSON.stringify(built.error)}`);
  return built;
}

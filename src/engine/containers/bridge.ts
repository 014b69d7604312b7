import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { DetachFilter } from '../../policy/detach-keys.ts';

/** How long a client may take to close after it was told the end. */
const CLOSE_WAIT_MS = 10_000;

/**
 * Joins a client's connection with a shim's until the process or the client ends. Bytes are passed
 * on as they are; each direction ends by itself. Resolves with the reason when both are done with.
 * @param detachKeys looked for in the client's input; undefined without a terminal
 */
export function bridge(
  client: Duplex,
  shim: Socket,
  detachKeys: Uint8Array | undefined,
): Promise<'ended' | 'detached' | 'gone'> {
  const filter = detachKeys === undefined ? undefined : new DetachFilter(detachKeys);
  return new Promise((resolve) => {
    let reason: 'ended' | 'detached' | 'gone' | undefined;
    const finish = (why: 'ended' | 'detached' | 'gone'): void => {
      if (reason !== undefined) return;
      reason = why;
      shim.destroy();
      if (why === 'gone') client.destroy();
      else endClient(client);
      resolve(why);
    };
    client.on('data', (chunk: Buffer) => {
      const { bytes, detached } = filter?.push(chunk) ?? { bytes: chunk, detached: false };
      if (bytes.length > 0 && shim.writable && !shim.write(bytes)) {
        client.pause();
        shim.once('drain', () => client.resume());
      }
      if (detached) finish('detached');
    });
    // A client without input may have ended it before the process was there to take any.
    if (client.readableEnded) shim.end();
    else client.on('end', () => shim.end());
    client.on('error', () => finish('gone'));
    client.on('close', () => finish('gone'));
    shim.on('data', (chunk: Buffer) => {
      if (!client.writable || client.write(chunk)) return;
      shim.pause();
      client.once('drain', () => shim.resume());
    });
    // It may have gone while the process was made: its 'close' does not come again.
    if (client.destroyed) finish('gone');
    shim.on('error', () => finish('ended'));
    shim.on('end', () => finish('ended'));
    shim.on('close', () => finish('ended'));
  });
}

/**
 * Ends a connection so that the client gets all that was written: closing it with unread input
 * would make its last reads fail. What it still sends is read and dropped.
 */
export function endClient(client: Duplex): void {
  client.end();
  client.resume();
  const timer = setTimeout(() => client.destroy(), CLOSE_WAIT_MS);
  timer.unref();
  const done = (): void => {
    clearTimeout(timer);
    client.destroy();
  };
  client.once('close', () => clearTimeout(timer));
  if (client.readableEnded) {
    if (client.writableFinished) done();
    else client.once('finish', done);
  } else client.once('end', done);
}

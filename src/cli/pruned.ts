import { humanSize } from '../base/bytes.ts';
import type { ImageDeleteItem } from '../spec/docker/image.ts';
import type { Session } from './session.ts';

/** Tells what a prune took away, below a title; nothing when that is nothing. */
export async function tellDeleted(
  session: Session,
  title: string,
  names: readonly string[] | null,
): Promise<void> {
  if (names === null || names.length === 0) return;
  await session.line(`${title}:\n${names.join('\n')}\n`);
}

/** Images and their names, as {@link tellDeleted} shows them. */
export async function tellDeletedImages(
  session: Session,
  items: readonly ImageDeleteItem[] | null,
): Promise<void> {
  const lines = (items ?? []).map((item) =>
    'Deleted' in item ? `deleted: ${item.Deleted}` : `untagged: ${item.Untagged}`,
  );
  await tellDeleted(session, 'Deleted Images', lines);
}

/** The room that it made, in bytes. */
export async function tellReclaimed(session: Session, bytes: number): Promise<void> {
  await session.line(`Total reclaimed space: ${humanSize(bytes)}`);
}

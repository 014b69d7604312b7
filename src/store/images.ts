import type { DiffId, Digest, ImageId } from '../base/digest.ts';
import { notFound } from '../base/errors.ts';
import type { Database } from './db.ts';

/**
 * The images table and what hangs on it. An image is its exact config bytes plus an ordered list
 * of layers; tags and repository digests are names for it.
 */

/** An image as stored. */
export type ImageRecord = {
  readonly id: ImageId;
  /** Exact bytes; their sha256 is the ID. */
  readonly config: Uint8Array;
  /** Bottom first. */
  readonly diffIds: readonly DiffId[];
  /** Sum of the sizes of the regular files in all layers. */
  readonly sizeBytes: number;
  readonly createdMs: number;
  readonly lastTaggedMs: number;
};

/** `repository` is in full: `docker.io/library/debian`. */
export type TagRecord = {
  readonly repository: string;
  readonly tag: string;
  readonly imageId: ImageId;
};
export type RepoDigestRecord = {
  readonly repository: string;
  readonly digest: Digest;
  readonly imageId: ImageId;
};

/** A manifest's exact bytes. */
export type ManifestRecord = {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly content: Uint8Array;
};

export type ImageStore = ReturnType<typeof imageStore>;

type Row = Readonly<Record<string, unknown>>;

/**
 * The image store on an open database. Mutations named `…InTransaction` must run inside
 * `database.transaction`, together with whatever makes their layers appear.
 */
export function imageStore(database: Database) {
  const { sql } = database;

  const diffIdsOf = (id: string): DiffId[] =>
    sql('SELECT diff_id FROM image_layers WHERE image_id = ? ORDER BY position')
      .all(id)
      .map((row) => row['diff_id'] as DiffId);

  const fromRow = (row: Row): ImageRecord => ({
    id: row['id'] as ImageId,
    config: row['config'] as Uint8Array,
    diffIds: diffIdsOf(row['id'] as string),
    sizeBytes: row['size_bytes'] as number,
    createdMs: row['created_ms'] as number,
    lastTaggedMs: row['last_tagged_ms'] as number,
  });

  const find = (id: ImageId): ImageRecord | undefined => {
    const row = sql('SELECT * FROM images WHERE id = ?').get(id);
    return row === undefined ? undefined : fromRow(row);
  };

  const addManifest = (record: ManifestRecord & { imageId: ImageId }) =>
    sql('INSERT INTO manifests VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING').run(
      record.digest,
      record.imageId,
      record.mediaType,
      record.content,
    );

  return {
    find,
    /** @throws notFound */
    get: (id: ImageId): ImageRecord => {
      const image = find(id);
      if (image === undefined) throw notFound(`No such image: ${id}`);
      return image;
    },
    /** All images, newest first. */
    list: (): ImageRecord[] =>
      sql('SELECT * FROM images ORDER BY created_ms DESC, id').all().map(fromRow),
    count: (): number => sql('SELECT count(*) AS n FROM images').get()?.['n'] as number,
    /** IDs whose hex digits start with `hexPrefix`; at most two, to tell unique from ambiguous. */
    findByPrefix: (hexPrefix: string): ImageId[] =>
      sql(
        "SELECT id FROM images WHERE id >= 'sha256:' || ?1 AND id < 'sha256:' || ?1 || 'g' LIMIT 2",
      )
        .all(hexPrefix)
        .map((row) => row['id'] as ImageId),

    /** The image that it was built on, if that is here. */
    findParent: (id: ImageId): ImageId | undefined =>
      sql(
        'SELECT parent_id FROM image_parents p JOIN images i ON i.id = parent_id WHERE image_id = ?',
      ).get(id)?.['parent_id'] as ImageId | undefined,
    /** All that have a parent, with it. */
    parents: (): Map<ImageId, ImageId> =>
      new Map(
        sql('SELECT image_id, parent_id FROM image_parents JOIN images ON id = parent_id')
          .all()
          .map((row) => [row['image_id'] as ImageId, row['parent_id'] as ImageId]),
      ),
    /** Images that were built on it, newest first. */
    childrenOf: (id: ImageId): ImageRecord[] =>
      sql(
        `SELECT images.* FROM images JOIN image_parents ON image_id = id
         WHERE parent_id = ? ORDER BY created_ms DESC, id`,
      )
        .all(id)
        .map(fromRow),
    hasChildren: (id: ImageId): boolean =>
      sql('SELECT 1 FROM image_parents WHERE parent_id = ? LIMIT 1').get(id) !== undefined,

    findTag: (repository: string, tag: string): ImageId | undefined =>
      sql('SELECT image_id FROM tags WHERE repository = ? AND tag = ?').get(repository, tag)?.[
        'image_id'
      ] as ImageId | undefined,
    findRepoDigest: (repository: string, digest: Digest): ImageId | undefined =>
      sql('SELECT image_id FROM repo_digests WHERE repository = ? AND digest = ?').get(
        repository,
        digest,
      )?.['image_id'] as ImageId | undefined,
    tagsOf: (id: ImageId): TagRecord[] =>
      sql('SELECT * FROM tags WHERE image_id = ? ORDER BY repository, tag').all(id).map(tagFrom),
    tags: (): TagRecord[] => sql('SELECT * FROM tags ORDER BY repository, tag').all().map(tagFrom),
    tagsIn: (repository: string): TagRecord[] =>
      sql('SELECT * FROM tags WHERE repository = ? ORDER BY tag').all(repository).map(tagFrom),
    repoDigestsOf: (id: ImageId): RepoDigestRecord[] =>
      sql('SELECT * FROM repo_digests WHERE image_id = ? ORDER BY repository, digest')
        .all(id)
        .map(repoDigestFrom),
    repoDigests: (): RepoDigestRecord[] =>
      sql('SELECT * FROM repo_digests ORDER BY repository, digest').all().map(repoDigestFrom),
    findManifest: (digest: Digest): (ManifestRecord & { imageId: ImageId }) | undefined => {
      const row = sql('SELECT * FROM manifests WHERE digest = ?').get(digest);
      if (row === undefined) return undefined;
      return {
        digest,
        mediaType: row['media_type'] as string,
        content: row['content'] as Uint8Array,
        imageId: row['image_id'] as ImageId,
      };
    },
    /** Those that it came with first. */
    manifestsOf: (id: ImageId): ManifestRecord[] =>
      sql(
        `SELECT digest, media_type, content FROM manifests WHERE image_id = ?
         ORDER BY digest IN (SELECT digest FROM made_manifests), digest`,
      )
        .all(id)
        .map((row) => ({
          digest: row['digest'] as Digest,
          mediaType: row['media_type'] as string,
          content: row['content'] as Uint8Array,
        })),

    /** Makes the image appear; its layers are rows already (or in this transaction). An image that is there stays as it is. */
    addInTransaction: (image: Omit<ImageRecord, 'lastTaggedMs'>): void => {
      const { changes } = sql(
        'INSERT INTO images (id, config, size_bytes, created_ms) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING',
      ).run(image.id, image.config, image.sizeBytes, image.createdMs);
      if (changes === 0) return;
      for (const [position, diffId] of image.diffIds.entries()) {
        sql('INSERT INTO image_layers VALUES (?, ?, ?)').run(image.id, position, diffId);
        sql('DELETE FROM layer_leases WHERE diff_id = ?').run(diffId);
      }
    },
    setParentInTransaction: (id: ImageId, parent: ImageId): void => {
      sql('INSERT INTO image_parents VALUES (?1, ?2) ON CONFLICT DO UPDATE SET parent_id = ?2').run(
        id,
        parent,
      );
    },
    /** Moves or makes a tag; returns the image that had it before. */
    setTagInTransaction: (tag: TagRecord & { nowMs: number }): ImageId | undefined => {
      const before = sql('SELECT image_id FROM tags WHERE repository = ? AND tag = ?').get(
        tag.repository,
        tag.tag,
      )?.['image_id'] as ImageId | undefined;
      if (before === tag.imageId) return before;
      sql('INSERT INTO tags VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET image_id = ?3').run(
        tag.repository,
        tag.tag,
        tag.imageId,
      );
      sql('UPDATE images SET last_tagged_ms = ? WHERE id = ?').run(tag.nowMs, tag.imageId);
      return before;
    },
    setRepoDigestInTransaction: (record: RepoDigestRecord): void => {
      sql(
        'INSERT INTO repo_digests VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET image_id = ?3',
      ).run(record.repository, record.digest, record.imageId);
    },
    /** One that it came with. */
    addManifestInTransaction: (record: ManifestRecord & { imageId: ImageId }): void => {
      addManifest(record);
      sql('DELETE FROM made_manifests WHERE digest = ?').run(record.digest);
    },
    /** One that a push has made, as there was none that the image came with, or it could not be kept. */
    addMadeManifestInTransaction: (record: ManifestRecord & { imageId: ImageId }): void => {
      const { changes } = addManifest(record);
      if (changes > 0) sql('INSERT INTO made_manifests VALUES (?)').run(record.digest);
    },
    /** True when there was such a tag. */
    removeTagInTransaction: (repository: string, tag: string): boolean =>
      sql('DELETE FROM tags WHERE repository = ? AND tag = ?').run(repository, tag).changes > 0,
    removeRepoDigestInTransaction: (repository: string, digest: Digest): boolean =>
      sql('DELETE FROM repo_digests WHERE repository = ? AND digest = ?').run(repository, digest)
        .changes > 0,
    /** Takes the image away with its names; its layers stay until they are collected. */
    removeInTransaction: (id: ImageId): void => {
      sql('DELETE FROM images WHERE id = ?').run(id);
    },
  };
}

function tagFrom(row: Row): TagRecord {
  return {
    repository: row['repository'] as string,
    tag: row['tag'] as string,
    imageId: row['image_id'] as ImageId,
  };
}

function repoDigestFrom(row: Row): RepoDigestRecord {
  return {
    repository: row['repository'] as string,
    digest: row['digest'] as Digest,
    imageId: row['image_id'] as ImageId,
  };
}

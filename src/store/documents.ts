import type { Database } from './db.ts';

/**
 * Containers, networks and volumes are documents: JSON that the engine's noun defines and decodes.
 * What did not change is not written.
 */

/** A container's two documents: what it was made from, and what of its state survives a reboot. */
export type ContainerRow = {
  readonly id: string;
  readonly name: string;
  readonly imageId: string;
  readonly document: string;
  readonly state: string;
};

export type ContainerStore = ReturnType<typeof containerStore>;

export function containerStore({ sql }: Database) {
  return {
    list: (): ContainerRow[] =>
      sql(
        'SELECT id, name, image_id AS imageId, document, state FROM containers',
      ).all() as ContainerRow[],
    /** Throws a constraint error when the ID or name is taken. */
    add: (row: ContainerRow): void => {
      sql('INSERT INTO containers VALUES (?, ?, ?, ?, ?)').run(
        row.id,
        row.name,
        row.imageId,
        row.document,
        row.state,
      );
    },
    setState: (id: string, state: string): void => {
      sql('UPDATE containers SET state = ?2 WHERE id = ?1 AND state <> ?2').run(id, state);
    },
    setDocument: (id: string, document: string): void => {
      sql('UPDATE containers SET document = ?2 WHERE id = ?1 AND document <> ?2').run(id, document);
    },
    rename: (id: string, name: string): void => {
      sql('UPDATE containers SET name = ? WHERE id = ?').run(name, id);
    },
    remove: (id: string): void => {
      sql('DELETE FROM containers WHERE id = ?').run(id);
    },
  };
}

export type NamedDocumentStore = ReturnType<typeof networkStore>;

/** Networks, by ID, with unique names. */
export function networkStore({ sql }: Database) {
  return {
    list: (): { id: string; name: string; document: string }[] =>
      sql('SELECT * FROM networks').all() as { id: string; name: string; document: string }[],
    put: (id: string, name: string, document: string): void => {
      sql(
        'INSERT INTO networks VALUES (?1, ?2, ?3) ON CONFLICT(id) DO UPDATE SET name = ?2, document = ?3 WHERE document <> ?3 OR name <> ?2',
      ).run(id, name, document);
    },
    remove: (id: string): void => {
      sql('DELETE FROM networks WHERE id = ?').run(id);
    },
  };
}

export type VolumeStore = ReturnType<typeof volumeStore>;

/** Volumes, by name. */
export function volumeStore({ sql }: Database) {
  return {
    list: (): { name: string; document: string }[] =>
      sql('SELECT * FROM volumes').all() as { name: string; document: string }[],
    put: (name: string, document: string): void => {
      sql(
        'INSERT INTO volumes VALUES (?1, ?2) ON CONFLICT DO UPDATE SET document = ?2 WHERE document <> ?2',
      ).run(name, document);
    },
    remove: (name: string): void => {
      sql('DELETE FROM volumes WHERE name = ?').run(name);
    },
  };
}

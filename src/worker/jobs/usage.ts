import { readFileSync } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../../base/errors.ts';
import { decodeLayerContents, type LayerContents } from '../../formats/layer-contents.ts';
import { CONTENTS } from '../../store/layers/objects.ts';
import type { UsageInput, UsageResult } from '../usage-protocol.ts';

/** An image's number; or more than one has it. */
type Owner = number;
const SEVERAL: Owner = -1;

/** What takes room once: a content, or what of a layer nobody else can have. */
type Room = { owner: Owner; readonly bytes: number };

/**
 * The job `usage`: the bytes that images take on the disk, a content that several of their files
 * share counted once, and those that each image has for itself.
 */
export async function usage(input: unknown): Promise<UsageResult> {
  const { layers, images } = input as UsageInput;
  const rooms = new Rooms();
  for (const [owner, image] of images.entries()) {
    for (const { dir, diskBytes } of image.layers) {
      const contents = contentsOf(path.join(layers, dir, CONTENTS));
      let sharable = 0;
      for (let i = 0; i < (contents?.count ?? 0); i += 1) {
        const record = contents?.at(i);
        if (record === undefined) break;
        sharable += record.bytes;
        rooms.take(record.group || dir, record.number, { owner, bytes: record.bytes });
      }
      // Objects are numbered from 1: 0 is the rest of a layer.
      rooms.take(dir, 0, { owner, bytes: Math.max(0, diskBytes - sharable) });
    }
  }
  return rooms.sum(images.length);
}

class Rooms {
  readonly #groups = new Map<string, Map<number, Room>>();

  take(group: string, number: number, room: Room): void {
    let rooms = this.#groups.get(group);
    if (rooms === undefined) {
      rooms = new Map();
      this.#groups.set(group, rooms);
    }
    const known = rooms.get(number);
    if (known === undefined) rooms.set(number, room);
    else if (known.owner !== room.owner) known.owner = SEVERAL;
  }

  sum(images: number): UsageResult {
    const uniqueBytes = new Array<number>(images).fill(0);
    let totalBytes = 0;
    for (const rooms of this.#groups.values()) {
      for (const { owner, bytes } of rooms.values()) {
        totalBytes += bytes;
        if (owner !== SEVERAL) uniqueBytes[owner] = (uniqueBytes[owner] ?? 0) + bytes;
      }
    }
    return { totalBytes, uniqueBytes };
  }
}

function contentsOf(file: string): LayerContents | undefined {
  try {
    return decodeLayerContents(readFileSync(file));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

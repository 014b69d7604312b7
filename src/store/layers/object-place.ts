/**
 * Where an object lies: `GROUP/BUCKET/NUMBER` below the data root's `objects/`, and BUCKET/NUMBER in
 * the staged layer's folder that becomes GROUP. Numbers count from 1.
 *
 * Buckets are small because ext4 compares a name with all others in a block of its directory, of
 * which there are up to 340: 6,800 links take 40 ms in buckets of 64, 53 of 128, 111 in one folder.
 */
const BUCKET_NAMES = 64;

/** The folder of a staged layer that becomes its group in `objects/`; no group is called so. */
export const STAGED_OBJECTS = 'objects';

/** An object of a layer: its group, or {@link STAGED_OBJECTS} of the layer itself, and its number. */
export type ObjectName = { readonly group: string; readonly number: number };

const PLACE = /^([a-z2-7]{8}|objects)\/\d{1,10}\/(\d{1,10})$/;

/** The folder in a group that an object lies in. */
export function bucketOf(number: number): string {
  return String(Math.floor(number / BUCKET_NAMES));
}

/** `BUCKET/NUMBER`: where an object lies in its group. */
export function placeInGroup(number: number): string {
  return `${bucketOf(number)}/${number}`;
}

/** `GROUP/BUCKET/NUMBER`. */
export function objectPlace({ group, number }: ObjectName): string {
  return `${group}/${placeInGroup(number)}`;
}

/** Reads what {@link objectPlace} gives; undefined for anything else. */
export function parseObjectPlace(place: string): ObjectName | undefined {
  const [, group = '', digits = ''] = PLACE.exec(place) ?? [];
  const name = { group, number: Number(digits) };
  return objectPlace(name) === place ? name : undefined;
}

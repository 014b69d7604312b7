import { bool, type Decoded, decodeJson, map, string, struct } from '../../spec/decode.ts';
import type { Volume as VolumeView } from '../../spec/docker/volume.ts';

/** A volume's document in the database. */
const volumeDocument = struct('Volume', {
  /** RFC 3339. */
  createdAt: string,
  driver: string,
  options: map(string),
  labels: map(string),
  /** Its container is gone and it is to follow, which the next start does where nobody else has. */
  isGoing: bool,
});
export type VolumeDocument = Decoded<typeof volumeDocument>;

/** A volume of the engine. */
export type Volume = VolumeDocument & {
  readonly name: string;
  /** Absolute host path of its content. */
  readonly mountpoint: string;
};

/** The label that marks a volume that nobody named. */
export const ANONYMOUS_LABEL = 'com.docker.volume.anonymous';

export function decodeVolume(name: string, mountpoint: string, text: string): Volume {
  return { ...decodeJson(volumeDocument, text), name, mountpoint };
}

export function encodeVolume(volume: VolumeDocument): string {
  const { createdAt, driver, options, labels, isGoing } = volume;
  const known = { createdAt, driver, options, labels };
  return JSON.stringify(isGoing ? { ...known, isGoing } : known);
}

/** A volume as the API shows it. */
export function viewOf(volume: Volume): VolumeView {
  const orNull = (record: Readonly<Record<string, string>>) =>
    Object.keys(record).length === 0 ? null : record;
  return {
    CreatedAt: volume.createdAt,
    Driver: volume.driver,
    Labels: orNull(volume.labels),
    Mountpoint: volume.mountpoint,
    Name: volume.name,
    Options: orNull(volume.options),
    Scope: 'local',
  };
}

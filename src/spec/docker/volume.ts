import { type Decoded, map, string, struct } from '../decode.ts';

/** Volumes. Source: Engine API v1.51, `Volume`, `VolumeCreateOptions`, `VolumeListResponse`. */

/** Body of `POST /volumes/create`. */
export const volumeCreate = struct('VolumeCreateOptions', {
  Name: string,
  Driver: string,
  DriverOpts: map(string),
  Labels: map(string),
});
export type VolumeCreate = Decoded<typeof volumeCreate>;

/** `Labels` and `Options` are null when there are none, as Go writes an empty map it never made. */
export type Volume = {
  readonly CreatedAt: string;
  readonly Driver: string;
  readonly Labels: Readonly<Record<string, string>> | null;
  readonly Mountpoint: string;
  readonly Name: string;
  readonly Options: Readonly<Record<string, string>> | null;
  readonly Scope: 'local';
  /** In `system df` only. Bytes, and the containers that refer to it. */
  readonly UsageData?: { readonly RefCount: number; readonly Size: number };
};

export type VolumeListResult = {
  readonly Volumes: readonly Volume[];
  readonly Warnings: readonly string[] | null;
};

export type VolumePruneResult = {
  readonly VolumesDeleted: readonly string[] | null;
  readonly SpaceReclaimed: number;
};

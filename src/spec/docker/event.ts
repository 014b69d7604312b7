/** One event as `/events` sends it. Source: Engine API v1.51, `EventMessage`. */
export type EventMessage = {
  /** Deprecated twins that old clients read: they are set for containers and images. */
  readonly status?: string;
  readonly id?: string;
  readonly from?: string;
  readonly Type: EventType;
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> };
  readonly scope: 'local';
  /** Seconds since the epoch. */
  readonly time: number;
  /** Nanoseconds since the epoch, as a JSON number that may lose its last digits. */
  readonly timeNano: number;
};

export type EventType = 'builder' | 'container' | 'daemon' | 'image' | 'network' | 'volume';

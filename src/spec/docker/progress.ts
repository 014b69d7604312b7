/** The numbers of a line. */
export type ProgressDetail = {
  readonly current?: number;
  readonly total?: number;
  readonly units?: string;
  readonly hidecounts?: boolean;
  /** Seconds since 1970; clients work out from it, by their own clock, how long the rest takes. */
  readonly start?: number;
  /**
   * Ours alone: the whole pull, or push. Bytes that went over the link and that go in all, and how
   * many go in a second now; left out when it is too early to tell.
   */
  readonly whole?: {
    readonly current: number;
    readonly total: number;
    readonly bytesPerSec?: number;
  };
};

/**
 * One line of a progress stream (pull, push, load, build, delta). Source: Docker's
 * `pkg/jsonmessage`. Clients show `status`, `id` and `progress`; a line with `error` ends the
 * operation as failed although the HTTP status was 200.
 */
export type ProgressMessage = {
  readonly stream?: string;
  readonly status?: string;
  readonly id?: string;
  readonly progressDetail?: ProgressDetail;
  /** A bar for clients that do not draw their own. */
  readonly progress?: string;
  readonly error?: string;
  readonly errorDetail?: { readonly code?: number; readonly message: string };
  readonly aux?: unknown;
};

/**
 * One line of a progress stream (pull, push, load, build, delta). Source: Docker's
 * `pkg/jsonmessage`. Clients show `status`, `id` and `progress`; a line with `error` ends the
 * operation as failed although the HTTP status was 200.
 */
export type ProgressMessage = {
  readonly stream?: string;
  readonly status?: string;
  readonly id?: string;
  readonly progressDetail?: {
    readonly current?: number;
    readonly total?: number;
    readonly units?: string;
    readonly hidecounts?: boolean;
  };
  /** A bar for clients that do not draw their own. */
  readonly progress?: string;
  readonly error?: string;
  readonly errorDetail?: { readonly code?: number; readonly message: string };
  readonly aux?: unknown;
};

/**
 * The versions of the Engine API that this engine speaks, as text. `api/contract/versions.ts` has
 * them for the server, which stands above this room; a test keeps the two equal.
 */
export const API_RANGE = { min: '1.24', max: '1.51' } as const;

import { type Decoded, string, struct } from '../decode.ts';

/**
 * Credentials as clients send them: in `X-Registry-Auth` as base64url of JSON, or as the body of
 * `POST /auth`. Source: Engine API v1.51, `AuthConfig`, and "Authentication" in its preface.
 */
export const authConfig = struct('AuthConfig', {
  username: string,
  password: string,
  /** base64 of `user:password`; wins when the two are empty. */
  auth: string,
  email: string,
  serveraddress: string,
  /** An OAuth2 refresh token, in place of a password. */
  identitytoken: string,
  /** A bearer token that is sent as it is. */
  registrytoken: string,
});
export type AuthConfig = Decoded<typeof authConfig>;

/** Answer of `POST /auth`. */
export type AuthResult = { readonly Status: string; readonly IdentityToken: string };

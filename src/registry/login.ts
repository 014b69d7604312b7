import { unauthorized } from '../base/errors.ts';
import { basicHeader, type Credentials, requestToken } from './auth.ts';
import { parseChallenges } from './challenge.ts';
import type { RegistrySession } from './session.ts';

/**
 * Tries credentials on a registry. `session` was opened without any, so that the challenge shows.
 * Resolves with a refresh token to keep in place of the password, '' when there is none.
 * @throws unauthorized when the registry does not take them
 */
export async function login(session: RegistrySession, credentials: Credentials): Promise<string> {
  const ping = { method: 'GET', target: '/v2/', scopes: [] } as const;
  const first = await session.send({ ...ping, accept: [401], isUnauthenticated: true });
  await first.discard();
  if (first.status !== 401) return ''; // it takes anybody
  const challenges = parseChallenges(first.headers.get('www-authenticate'));
  const bearer = challenges.find((each) => each.scheme === 'bearer');
  if (bearer !== undefined) {
    const granted = await requestToken({
      http: session.http,
      credentials,
      signal: session.signal,
      origin: first.url.origin,
      challenge: bearer,
      scopes: [],
      offline: true,
    });
    await verify(session, first.url, granted.header);
    return granted.refreshToken;
  }
  const basic = basicHeader(credentials);
  if (basic === undefined || !challenges.some((each) => each.scheme === 'basic')) {
    throw unauthorized('the registry offers no way to log in that these credentials fit');
  }
  await verify(session, first.url, basic);
  return '';
}

async function verify(session: RegistrySession, url: URL, authorization: string): Promise<void> {
  const answer = await session.send({
    method: 'GET',
    target: url,
    scopes: [],
    headers: { Authorization: authorization },
    accept: [401],
    isUnauthenticated: true,
  });
  await answer.discard();
  if (answer.status === 401) {
    throw unauthorized(
      `login attempt to ${url.origin}/v2/ failed with status: 401 ${answer.reason || 'Unauthorized'}`,
    );
  }
}

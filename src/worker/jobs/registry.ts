import { parseReference } from '../../base/reference.ts';
import { login } from '../../registry/login.ts';
import { pullError } from '../../registry/registry-error.ts';
import { searchRepositories } from '../../registry/search.ts';
import { listTags } from '../../registry/tags.ts';
import type { JobContext } from '../job.ts';
import type { LoginResult, RegistryInput, SearchResult } from '../pull-protocol.ts';
import { openWorkerSession } from '../registry-session.ts';

/** The job `registry`: small questions to a registry. */
export async function registry(
  input: unknown,
  context: JobContext,
): Promise<string[] | LoginResult | SearchResult[]> {
  const job = input as RegistryInput;
  await using session = await openWorkerSession(job.access, context.signal);
  switch (job.ask) {
    case 'tags':
      try {
        return await listTags(session, job.path);
      } catch (error) {
        throw pullError(error, parseReference(job.familiar));
      }
    case 'login': {
      const { credentials } = job.access;
      if (credentials === null) return { identityToken: '' };
      return { identityToken: await login(session, credentials) };
    }
    case 'search':
      return await searchRepositories(session, job.term, job.limit);
  }
}

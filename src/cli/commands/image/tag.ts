import { invalidArgument, messageOf } from '../../../base/errors.ts';
import { parseReference } from '../../../base/reference.ts';
import { defineCommand, exactly } from '../../command.ts';
import { repositoryAndTag } from '../../reference.ts';

export const command = defineCommand({
  use: 'SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]',
  args: exactly(2),
  flags: {},
  run: async (session, { args: [name = '', target = ''] }) => {
    const reference = parseTarget(target);
    const client = await session.client();
    await client.imageTag({ params: { name }, query: repositoryAndTag(reference) });
    return undefined;
  },
});

function parseTarget(target: string): ReturnType<typeof parseReference> {
  let reference: ReturnType<typeof parseReference>;
  try {
    reference = parseReference(target);
  } catch (cause) {
    throw invalidArgument(
      `Error parsing reference: ${JSON.stringify(target)} is not a valid repository/tag: ${messageOf(cause)}`,
      { cause },
    );
  }
  if (reference.digest !== undefined) {
    throw invalidArgument('refusing to create a tag with a digest reference');
  }
  return reference;
}

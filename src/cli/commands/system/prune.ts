import { defineCommand, noArguments } from '../../command.ts';
import { confirm } from '../../confirm.ts';
import { EXIT, ExitError } from '../../exit.ts';
import { filterFlag } from '../../filter-flag.ts';
import { bool } from '../../flags.ts';
import { tellDeleted, tellDeletedImages, tellReclaimed } from '../../pruned.ts';

const flags = {
  all: bool('a', 'Remove all images that no container uses, not just those without a name'),
  filter: filterFlag('', 'Remove only what fits (e.g. "label=<key>=<value>")'),
  force: bool('f', 'Remove without asking'),
  volumes: bool('', 'Remove anonymous volumes too'),
};

export const command = defineCommand({
  use: '[OPTIONS]',
  args: noArguments,
  flags,
  run: async (session, { flags }) => {
    if (flags.volumes && flags.filter['until'] !== undefined) {
      throw new ExitError(
        EXIT.failure,
        'ERROR: The "until" filter is not supported with "--volumes"',
      );
    }
    if (!flags.force) await confirm(session, warning(flags));
    const client = await session.client();
    const query = { filters: flags.filter };
    const containers = await client.containerPrune({ query });
    await tellDeleted(session, 'Deleted Containers', containers.ContainersDeleted);
    const networks = await client.networkPrune({ query });
    await tellDeleted(session, 'Deleted Networks', networks.NetworksDeleted);
    let reclaimed = containers.SpaceReclaimed;
    if (flags.volumes) {
      const volumes = await client.volumePrune({ query });
      await tellDeleted(session, 'Deleted Volumes', volumes.VolumesDeleted);
      reclaimed += volumes.SpaceReclaimed;
    }
    const images = await client.imagePrune({
      query: { filters: { ...flags.filter, dangling: [String(!flags.all)] } },
    });
    await tellDeletedImages(session, images.ImagesDeleted);
    reclaimed += images.SpaceReclaimed;
    await tellReclaimed(session, reclaimed);
    return undefined;
  },
});

function warning(flags: {
  readonly all: boolean;
  readonly volumes: boolean;
  readonly filter: Readonly<Record<string, readonly string[]>>;
}): string {
  const what = [
    'all stopped containers',
    'all networks not used by at least one container',
    ...(flags.volumes ? ['all anonymous volumes not used by at least one container'] : []),
    flags.all
      ? 'all images without at least one container associated to them'
      : 'all dangling images',
  ];
  const filters = Object.entries(flags.filter).flatMap(([key, values]) =>
    values.map((value) => `${key}=${value}`),
  );
  const only =
    filters.length === 0
      ? ''
      : `\n  Items to be pruned will be filtered with:\n${filters.map((each) => `  - ${each}\n`).join('')}`;
  return `WARNING! This will remove:\n${what.map((each) => `  - ${each}\n`).join('')}${only}`;
}

/** More CPUs or memory nodes than any kernel is built for. */
const ID_MAX = 8191;

/** The numbers of `0-3,7` as the kernel and `--cpuset-cpus` write them; undefined when it is not such a list. */
export function expandIdSet(text: string): Set<number> | undefined {
  const ids = new Set<number>();
  if (text === '') return ids;
  for (const part of text.split(',')) {
    const m = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (m === null) return undefined;
    const first = Number(m[1]);
    const last = m[2] === undefined ? first : Number(m[2]);
    if (last < first || last > ID_MAX) return undefined;
    for (let id = first; id <= last; id += 1) ids.add(id);
  }
  return ids;
}

import type { Loose } from '../../client/client.ts';
import type { HostConfig } from '../../spec/docker/container.ts';
import { parseInteger, splitCsv, splitPair } from '../flags.ts';

export type DeviceRequest = Loose<NonNullable<HostConfig['DeviceRequests']>[number]>;

/** `--gpus all`, `--gpus 2`, `--gpus '"device=0,1",capabilities=utility'`. @throws Error */
export function parseGpus(value: string): DeviceRequest {
  const seen = new Set<string>();
  let driver = '';
  let count: number | undefined;
  let devices: readonly string[] = [];
  let capabilities = ['gpu'];
  let options: Record<string, string> = {};
  for (const field of splitCsv(value)) {
    let [key, each] = splitPair(field);
    if (!field.includes('=')) [key, each] = ['count', field];
    if (seen.has(key)) throw new Error(`gpu request key '${key}' can be specified only once`);
    seen.add(key);
    if (key === 'driver') driver = each;
    else if (key === 'count') count = parseCount(each);
    else if (key === 'device') devices = each.split(',');
    else if (key === 'capabilities') capabilities = [...each.split(','), 'gpu'];
    else if (key === 'options') options = Object.fromEntries(each.split(',').map(splitPair));
    else throw new Error(`unexpected key '${key}' in '${field}'`);
  }
  return {
    Driver: driver,
    Count: count ?? (devices.length > 0 ? 0 : 1),
    DeviceIDs: devices.length > 0 ? devices : null,
    Capabilities: [capabilities],
    Options: options,
  };
}

function parseCount(text: string): number {
  if (text === 'all') return -1;
  try {
    return parseInteger(text);
  } catch {
    throw new Error(
      `invalid count (${text}): value must be either "all" or an integer: invalid syntax`,
    );
  }
}

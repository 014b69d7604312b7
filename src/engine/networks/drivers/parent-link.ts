import { errnoOf, invalidArgument, isEngineError, notImplemented } from '../../../base/errors.ts';
import { type Link, type LinkKind, newLink, setLink } from '../../../formats/netlink-route.ts';
import type { Network } from '../network.ts';
import type { DriverContext } from './driver.ts';

/**
 * What macvlan and ipvlan share: a parent link of the host. `eth0` is used as it is, `eth0.20` is a
 * VLAN that is made when it is missing, and without a parent (or for an internal network) a dummy
 * link is made that leads nowhere.
 */

const VLAN = /^(.+)\.(\d{1,4})$/;

/** Finds or makes the parent, and brings it up. @throws invalidArgument when it cannot be */
export function ensureParent({ route }: DriverContext, network: Network): Link {
  const name = network.parentName;
  const found = route.link(name);
  if (found !== undefined) return found;
  if (name === network.dummyName) {
    checkKind('dummy', () => route.run(newLink({ kind: 'dummy' }, { name, up: true })));
  } else {
    const m = VLAN.exec(name);
    const base = m?.[1] === undefined ? undefined : route.link(m[1]);
    const id = Number(m?.[2]);
    if (base === undefined || !(id >= 1 && id <= 4094)) {
      throw invalidArgument(`-o parent interface was not found on the host: ${name}`);
    }
    route.run(newLink({ kind: 'vlan', id }, { name, parent: base.index }));
  }
  const made = route.link(name);
  if (made === undefined)
    throw invalidArgument(`-o parent interface was not found on the host: ${name}`);
  route.run(setLink(made.index, { up: true }));
  return made;
}

/**
 * Finds out whether the kernel has the driver, by asking for a link without a parent: that is
 * never made, but refused as unsupported or as invalid.
 * @throws notImplemented when it has not
 */
export function checkKernel({ route }: DriverContext, kind: LinkKind, name: string): void {
  try {
    checkKind(kind.kind, () => route.run(newLink(kind, { name })));
  } catch (error) {
    if (isEngineError(error, 'notImplemented')) throw error;
  }
}

/** Runs `make`, and says it plainly when the kernel lacks the driver. */
export function checkKind(kind: string, make: () => void): void {
  try {
    make();
  } catch (error) {
    if (errnoOf(error) === 'EOPNOTSUPP') {
      throw notImplemented(
        `cannot make a ${kind} network: this kernel has no ${kind} driver (CONFIG_${kind.toUpperCase()})`,
        { cause: error },
      );
    }
    throw error;
  }
}

/** Removes a parent that the engine made. */
export async function removeParent({ route }: DriverContext, network: Network): Promise<void> {
  if (network.document.linkIsForeign) return;
  await route.deleteLink(network.parentName);
}

import { errnoOf, invalidArgument, isEngineError, notImplemented } from '../../../base/errors.ts';
import { type Link, type LinkKind, newLink, setLink } from '../../../formats/netlink-route.ts';
import { mtuOption } from '../../../policy/network-options.ts';
import type { Network } from '../network.ts';
import type { Driver, DriverContext } from './driver.ts';

/**
 * What macvlan and ipvlan share: a parent link of the host. `eth0` is used as it is, `eth0.20` is a
 * VLAN that is made when it is missing, and without a parent (or for an internal network) a dummy
 * link is made that leads nowhere.
 */

const VLAN = /^(.+)\.(\d{1,4})$/;

/** How a driver's links are. */
type ParentLinks = Pick<Driver, 'defaultRoute'> & {
  /** @throws invalidArgument for options of the network that it has not */
  readonly kindOf: (network: Network) => LinkKind;
  /** Each link has a MAC address of its own. */
  readonly hasMac: boolean;
};

/** A driver whose networks are links on a link of the host. */
export function parentLinkDriver(
  context: DriverContext,
  { kindOf, hasMac, defaultRoute }: ParentLinks,
): Driver {
  return {
    hasLinks: true,
    usesFirewall: false,
    defaultRoute,

    create: (network) => {
      checkKernel(context, kindOf(network), network.linkName);
      ensureParent(context, network);
    },

    restore: (network) => {
      ensureParent(context, network);
    },

    remove: (network) => removeParent(context, network),

    join: (network, endpoint, { fd }) => {
      const parent = ensureParent(context, network);
      const kind = kindOf(network);
      const link = {
        name: endpoint.link,
        ...(hasMac ? { mac: endpoint.mac } : {}),
        mtu: mtuOption(network.document.options),
        parent: parent.index,
        netnsFd: fd,
      };
      checkKind(kind.kind, () => context.route.run(newLink(kind, link)));
    },

    leave: async (_network, endpoint, { inside, enter }) => {
      await inside.deleteLink(endpoint.link, enter);
    },
  };
}

/** Finds or makes the parent, and brings it up. @throws invalidArgument when it cannot be */
function ensureParent({ route }: DriverContext, network: Network): Link {
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
function checkKernel({ route }: DriverContext, kind: LinkKind, name: string): void {
  try {
    checkKind(kind.kind, () => route.run(newLink(kind, { name })));
  } catch (error) {
    if (isEngineError(error, 'notImplemented')) throw error;
  }
}

/** Runs `make`, and says it plainly when the kernel lacks the driver. */
function checkKind(kind: string, make: () => void): void {
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
async function removeParent({ route }: DriverContext, network: Network): Promise<void> {
  if (network.document.linkIsForeign) return;
  await route.deleteLink(network.parentName);
}

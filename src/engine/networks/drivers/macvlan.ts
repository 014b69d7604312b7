import { invalidArgument } from '../../../base/errors.ts';
import { MACVLAN_MODES } from '../../../formats/netlink-route.ts';
import type { Network } from '../network.ts';
import type { Driver, DriverContext } from './driver.ts';
import { parentLinkDriver } from './parent-link.ts';

type Mode = keyof typeof MACVLAN_MODES;

function modeOf({ document }: Network): Mode {
  const text = document.options['macvlan_mode'] || 'bridge';
  if (!Object.hasOwn(MACVLAN_MODES, text)) {
    throw invalidArgument(
      `requested macvlan mode '${text}' is not valid, 'bridge' mode is the macvlan driver default`,
    );
  }
  return text as Mode;
}

/** Each container is a machine of its own, with a MAC address, on the network of a host's link. */
export function macvlanDriver(context: DriverContext): Driver {
  return parentLinkDriver(context, {
    kindOf: (network) => ({ kind: 'macvlan', mode: modeOf(network) }),
    hasMac: true,
    defaultRoute: (network) => (network.document.internal ? 'none' : 'gateway'),
  });
}

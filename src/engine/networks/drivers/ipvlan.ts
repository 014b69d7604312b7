import { invalidArgument } from '../../../base/errors.ts';
import { IPVLAN_FLAG_VALUES, IPVLAN_MODES } from '../../../formats/netlink-route.ts';
import type { Network } from '../network.ts';
import type { Driver, DriverContext } from './driver.ts';
import { parentLinkDriver } from './parent-link.ts';

type Mode = keyof typeof IPVLAN_MODES;
type Flag = keyof typeof IPVLAN_FLAG_VALUES;

function modeOf({ document }: Network): Mode {
  const text = document.options['ipvlan_mode'] || 'l2';
  if (!Object.hasOwn(IPVLAN_MODES, text)) {
    throw invalidArgument(
      `requested ipvlan mode '${text}' is not valid, 'l2' mode is the ipvlan driver default`,
    );
  }
  return text as Mode;
}

function flagOf({ document }: Network): Flag {
  const text = document.options['ipvlan_flag'] || 'bridge';
  if (!Object.hasOwn(IPVLAN_FLAG_VALUES, text)) {
    throw invalidArgument(
      `requested ipvlan flag '${text}' is not valid, 'bridge' is the ipvlan driver default`,
    );
  }
  return text as Flag;
}

/** Containers share the MAC address of a host's link and differ by IP address. */
export function ipvlanDriver(context: DriverContext): Driver {
  return parentLinkDriver(context, {
    kindOf: (network) => ({ kind: 'ipvlan', mode: modeOf(network), flag: flagOf(network) }),
    hasMac: false,
    defaultRoute: (network) => {
      if (network.document.internal) return 'none';
      return modeOf(network) === 'l2' ? 'gateway' : 'link';
    },
  });
}

import { invalidArgument } from '../../../base/errors.ts';
import { IPVLAN_FLAG_VALUES, IPVLAN_MODES, newLink } from '../../../formats/netlink-route.ts';
import { mtuOption } from '../../../policy/network-options.ts';
import type { Network } from '../network.ts';
import type { Driver, DriverContext } from './driver.ts';
import { checkKernel, checkKind, ensureParent, removeParent } from './parent-link.ts';

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
  return {
    hasLinks: true,
    usesFirewall: false,
    defaultRoute: (network) => {
      if (network.document.internal) return 'none';
      return modeOf(network) === 'l2' ? 'gateway' : 'link';
    },

    create: (network) => {
      checkKernel(
        context,
        { kind: 'ipvlan', mode: modeOf(network), flag: flagOf(network) },
        network.linkName,
      );
      ensureParent(context, network);
    },

    restore: (network) => {
      ensureParent(context, network);
    },

    remove: (network) => removeParent(context, network),

    join: (network, endpoint, { fd }) => {
      const parent = ensureParent(context, network);
      checkKind('ipvlan', () =>
        context.route.run(
          newLink(
            { kind: 'ipvlan', mode: modeOf(network), flag: flagOf(network) },
            {
              name: endpoint.link,
              mtu: mtuOption(network.document.options),
              parent: parent.index,
              netnsFd: fd,
            },
          ),
        ),
      );
    },

    leave: async (_network, endpoint, { inside, enter }) => {
      await inside.deleteLink(endpoint.link, enter);
    },
  };
}

import { invalidArgument } from '../../../base/errors.ts';
import { MACVLAN_MODES, newLink } from '../../../formats/netlink-route.ts';
import { mtuOption } from '../../../policy/network-options.ts';
import type { Network } from '../network.ts';
import type { Driver, DriverContext } from './driver.ts';
import { checkKernel, checkKind, ensureParent, removeParent } from './parent-link.ts';

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
  return {
    hasLinks: true,
    usesFirewall: false,
    defaultRoute: (network) => (network.document.internal ? 'none' : 'gateway'),

    create: (network) => {
      checkKernel(context, { kind: 'macvlan', mode: modeOf(network) }, network.linkName);
      ensureParent(context, network);
    },

    restore: (network) => {
      ensureParent(context, network);
    },

    remove: (network) => removeParent(context, network),

    join: (network, endpoint, { fd }) => {
      const parent = ensureParent(context, network);
      checkKind('macvlan', () =>
        context.route.run(
          newLink(
            { kind: 'macvlan', mode: modeOf(network) },
            {
              name: endpoint.link,
              mac: endpoint.mac,
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

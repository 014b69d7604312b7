import { addressOption, flagOption, OPTIONS } from '../../policy/network-options.ts';
import type { BridgeRules } from '../../policy/nft-ruleset.ts';
import type { EngineConfig } from '../../spec/engine-config.ts';
import type { Network } from './network.ts';

/** What the firewall needs to know of the bridge networks there are. */
export function bridgeRulesOf(networks: readonly Network[], config: EngineConfig): BridgeRules[] {
  return networks
    .filter(({ driver }) => driver === 'bridge')
    .map(({ document, linkName, subnets }): BridgeRules => {
      const { options } = document;
      const outbound = [OPTIONS.hostIpv4, OPTIONS.hostIpv6].flatMap(
        (key) => addressOption(options, key) ?? [],
      );
      return {
        bridge: linkName,
        subnets: subnets
          .map(({ subnet }) => subnet)
          .filter(({ address }) => address.family === 4 || config.ip6tables),
        internal: document.internal,
        icc: flagOption(options, OPTIONS.icc, true),
        masquerade: !document.internal && flagOption(options, OPTIONS.masquerade, true),
        outboundAddresses: outbound,
      };
    });
}

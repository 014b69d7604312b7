import { between, defineCommand } from '../../command.ts';
import { EXIT, ExitError } from '../../exit.ts';

const PROTOCOL_ORDER = ['tcp', 'udp', 'sctp'];

function comparePorts(a: string, b: string): number {
  const [[portA, protocolA], [portB, protocolB]] = [a.split('/'), b.split('/')];
  const byProtocol =
    PROTOCOL_ORDER.indexOf(protocolA ?? '') - PROTOCOL_ORDER.indexOf(protocolB ?? '');
  return Number(portA) - Number(portB) || byProtocol;
}

const PORT_MAX = 65_535;

const hostText = (ip: string): string => (ip.includes(':') ? `[${ip}]` : ip);

export const command = defineCommand({
  use: 'CONTAINER [PRIVATE_PORT[/PROTO]]',
  args: between(1, 2),
  flags: {},
  run: async (session, { args: [id = '', wanted] }) => {
    const client = await session.client();
    const { NetworkSettings } = await client.containerInspect({ params: { id } });
    const ports = NetworkSettings.Ports ?? {};
    if (wanted === undefined) {
      for (const port of Object.keys(ports).toSorted(comparePorts)) {
        for (const { HostIp, HostPort } of ports[port] ?? []) {
          await session.line(`${port} -> ${hostText(HostIp)}:${HostPort}`);
        }
      }
      return undefined;
    }
    const [number = '', protocol = 'tcp'] = wanted.split('/');
    if (!/^\d+$/.test(number) || Number(number) > PORT_MAX) {
      const cause = /^\d+$/.test(number) ? 'value out of range' : 'invalid syntax';
      const why = `strconv.ParseUint: parsing ${JSON.stringify(number)}: ${cause}`;
      throw new ExitError(EXIT.failure, `Error: invalid port (${number}): ${why}`);
    }
    const bindings = ports[`${number}/${protocol}`] ?? [];
    if (bindings.length === 0) {
      throw new ExitError(EXIT.failure, `Error: No public port '${wanted}' published for ${id}`);
    }
    for (const { HostIp, HostPort } of bindings) {
      await session.line(`${hostText(HostIp)}:${HostPort}`);
    }
    return undefined;
  },
});

import { array, bool, type Decoded, int, map, nullable, string, struct } from '../decode.ts';

/** What clients send about networks. Source: Engine API v1.51, `EndpointSettings`, `IPAM`. */

export const endpointIpamConfig = struct('EndpointIPAMConfig', {
  IPv4Address: string,
  IPv6Address: string,
  LinkLocalIPs: nullable(array(string)),
});

/** One container's place in one network: wishes when it comes in, facts when it is shown. */
export const endpointSettings = struct('EndpointSettings', {
  IPAMConfig: nullable(endpointIpamConfig),
  Links: nullable(array(string)),
  Aliases: nullable(array(string)),
  MacAddress: string,
  DriverOpts: nullable(map(string)),
  GwPriority: int,
  NetworkID: string,
  EndpointID: string,
  Gateway: string,
  IPAddress: string,
  IPPrefixLen: int,
  IPv6Gateway: string,
  GlobalIPv6Address: string,
  GlobalIPv6PrefixLen: int,
  DNSNames: nullable(array(string)),
});
export type EndpointSettings = Decoded<typeof endpointSettings>;

export const ipamConfig = struct('IPAMConfig', {
  Subnet: string,
  IPRange: string,
  Gateway: string,
  AuxiliaryAddresses: map(string),
});
export const ipam = struct('IPAM', {
  Driver: string,
  Options: nullable(map(string)),
  Config: array(ipamConfig),
});
export type Ipam = Decoded<typeof ipam>;

/** Body of `POST /networks/create`. */
export const networkCreate = struct('NetworkCreate', {
  Name: string,
  CheckDuplicate: bool,
  Driver: string,
  Scope: string,
  Internal: bool,
  Attachable: bool,
  Ingress: bool,
  ConfigOnly: bool,
  IPAM: nullable(ipam),
  EnableIPv4: nullable(bool),
  EnableIPv6: nullable(bool),
  Options: map(string),
  Labels: map(string),
});
export type NetworkCreate = Decoded<typeof networkCreate>;

/** Body of `POST /networks/{id}/connect`. */
export const networkConnect = struct('NetworkConnect', {
  Container: string,
  EndpointConfig: nullable(endpointSettings),
});
export type NetworkConnect = Decoded<typeof networkConnect>;

/** Body of `POST /networks/{id}/disconnect`. */
export const networkDisconnect = struct('NetworkDisconnect', { Container: string, Force: bool });
export type NetworkDisconnect = Decoded<typeof networkDisconnect>;

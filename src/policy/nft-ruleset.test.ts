import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCidr, parseIp } from '../base/ip.ts';
import { type BridgeRules, publishMap, renderRuleset } from './nft-ruleset.ts';

function ip(text: string) {
  const parsed = parseIp(text);
  assert.ok(parsed !== undefined);
  return parsed;
}

function bridge(name: string, subnet: string, more: Partial<BridgeRules> = {}): BridgeRules {
  const parsed = parseCidr(subnet);
  assert.ok(parsed !== undefined);
  return {
    bridge: name,
    subnets: [parsed],
    internal: false,
    icc: true,
    masquerade: true,
    outboundAddresses: [],
    ...more,
  };
}

const EMPTY = { table: 't', bridges: [], ports: [], dropOtherForwarding: false };

test('nothing in it takes the rules of the user away', () => {
  const text = renderRuleset(EMPTY);
  assert.ok(text.includes('add chain inet t coracle-user\n'));
  assert.ok(!/(flush|delete) (ruleset|table|chain inet t coracle-user)/.test(text));
  assert.ok(text.indexOf('forward jump coracle-user') < text.indexOf('forward iifname'));
});

test('each network has its part in sets and masquerade', () => {
  const text = renderRuleset({
    ...EMPTY,
    bridges: [
      bridge('br-a', '10.1.0.1/16'),
      bridge('br-b', '10.2.0.0/16', { icc: false, outboundAddresses: [ip('192.0.2.1')] }),
      bridge('br-c', 'fd00::/64', { internal: true, masquerade: false }),
    ],
  });
  const has = (line: string) => assert.ok(text.includes(`${line}\n`), line);
  has('add element inet t bridges { "br-a", "br-b", "br-c" }');
  has('add element inet t internal { "br-c" }');
  has('add element inet t same-bridge { "br-a" . "br-a", "br-c" . "br-c" }');
  has('add rule inet t postrouting oifname != "br-a" ip saddr 10.1.0.0/16 masquerade');
  has('add rule inet t postrouting oifname != "br-b" ip saddr 10.2.0.0/16 snat ip to 192.0.2.1');
  has('add rule inet t postrouting oifname "br-c" ct status dnat ip6 saddr fd00::/64 masquerade');
  assert.ok(!text.includes('oifname != "br-c"'));
});

test('ports go to the map of their family, with their address or for every one', () => {
  const port = { protocol: 'tcp' as const, hostPort: 80, containerPort: 8080 };
  const text = renderRuleset({
    ...EMPTY,
    ports: [
      { ...port, hostIp: ip('0.0.0.0'), containerIp: ip('10.1.0.2') },
      { ...port, hostIp: ip('127.0.0.1'), containerIp: ip('10.1.0.2') },
      { ...port, hostIp: ip('::'), containerIp: ip('fd00::2') },
    ],
  });
  assert.ok(text.includes('publish4-any { tcp . 80 : 10.1.0.2 . 8080 }'));
  assert.ok(text.includes('publish4 { tcp . 127.0.0.1 . 80 : 10.1.0.2 . 8080 }'));
  assert.ok(text.includes('publish6-any { tcp . 80 : fd00::2 . 8080 }'));
  assert.equal(publishMap(ip('fd00::9')), 'publish6');
});

test('a host that was no router stays none between its network cards', () => {
  const text = renderRuleset({ ...EMPTY, dropOtherForwarding: true });
  const rules = text.split('\n').filter((line) => line.startsWith('add rule inet t forward'));
  assert.deepEqual(rules.slice(-3), [
    'add rule inet t forward meta iifkind != "none" accept',
    'add rule inet t forward meta oifkind != "none" accept',
    'add rule inet t forward drop',
  ]);
  assert.ok(!renderRuleset(EMPTY).includes('forward drop'));
});

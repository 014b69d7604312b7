import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Cidr,
  contains,
  formatCidr,
  formatIp,
  overlaps,
  parseCidr,
  parseIp,
} from '../base/ip.ts';
import { AddressPool, choosePool, defaultPools, macOf, uniqueLocalPool } from './ipam.ts';

function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  assert.ok(parsed !== undefined);
  return parsed;
}

function ip(text: string) {
  const parsed = parseIp(text);
  assert.ok(parsed !== undefined);
  return parsed;
}

test('a pool gives each address once, the lowest first, and never what is reserved', () => {
  const operation = fc.oneof(
    fc.constant({ kind: 'allocate' as const }),
    fc.record({ kind: fc.constant('release' as const), pick: fc.nat() }),
    fc.record({ kind: fc.constant('claim' as const), host: fc.bigInt({ min: 0n, max: 40n }) }),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 80 }), (operations) => {
      const subnet = cidr('10.0.0.0/27');
      const pool = new AddressPool({
        subnet,
        range: cidr('10.0.0.8/29'),
        gateway: ip('10.0.0.9'),
        auxiliary: { router: ip('10.0.0.10') },
      });
      const reserved = new Set(['10.0.0.0', '10.0.0.31', '10.0.0.9', '10.0.0.10']);
      const held = new Set<string>();
      for (const each of operations) {
        if (each.kind === 'allocate') {
          const free = Array.from({ length: 8 }, (_, i) => `10.0.0.${8 + i}`).filter(
            (text) => !held.has(text) && !reserved.has(text),
          );
          const got = pool.allocate();
          assert.equal(got === undefined ? undefined : formatIp(got), free[0]);
          if (got !== undefined) held.add(formatIp(got));
        } else if (each.kind === 'release') {
          const text = [...held][each.pick % Math.max(1, held.size)];
          if (text === undefined) continue;
          pool.release(ip(text));
          held.delete(text);
        } else {
          const wanted = { family: 4, value: ip('10.0.0.0').value + each.host } as const;
          const text = formatIp(wanted);
          if (!contains(subnet, wanted)) {
            assert.throws(
              () => pool.claim(wanted),
              /does not belong to any of this network's subnets/,
            );
          } else if (held.has(text) || reserved.has(text)) {
            assert.throws(() => pool.claim(wanted), /^EngineError: Address already in use$/);
          } else {
            pool.claim(wanted);
            held.add(text);
          }
        }
      }
      assert.equal(pool.usedCount, held.size + reserved.size);
    }),
  );
});

test('a chosen subnet overlaps nothing that is taken, and is the first such', () => {
  const taken = fc.array(
    fc
      .record({ third: fc.nat(255), prefix: fc.integer({ min: 17, max: 30 }) })
      .map(({ third, prefix }) => cidr(`10.5.${third}.0/${prefix}`)),
    { maxLength: 12 },
  );
  const pools = [{ base: cidr('10.5.0.0/17'), size: 22 }];
  const pieces = Array.from({ length: 32 }, (_, i) => cidr(`10.5.${i * 4}.0/22`));
  fc.assert(
    fc.property(taken, (list) => {
      const expected = pieces.find((piece) => !list.some((each) => overlaps(each, piece)));
      if (expected === undefined) {
        assert.throws(() => choosePool(pools, 4, list), /have been fully subnetted/);
      } else assert.deepEqual(choosePool(pools, 4, list), expected);
    }),
  );
});

test('the default pools are those of dockerd, in its order', () => {
  const taken: Cidr[] = [];
  for (let i = 0; i < 16; i += 1) taken.push(choosePool(defaultPools(), 4, taken));
  assert.equal(taken.length, 16);
  assert.equal(formatCidr(taken[0] ?? cidr('::/0')), '172.17.0.0/16');
  assert.equal(formatCidr(taken[14] ?? cidr('::/0')), '172.31.0.0/16');
  assert.equal(formatCidr(taken[15] ?? cidr('::/0')), '192.168.0.0/20');
  assert.throws(() => choosePool(defaultPools(), 6, []), /IPv6 address pool/);
  // A host whose VPN takes all of 172.16.0.0/12.
  assert.equal(
    formatCidr(choosePool(defaultPools(), 4, [cidr('172.16.0.0/12')])),
    '192.168.0.0/20',
  );
});

test('IPv6 subnets come from a unique local prefix of the host', () => {
  const pool = uniqueLocalPool(Uint8Array.of(1, 2, 3, 4, 5));
  assert.equal(formatCidr(pool.base), 'fd01:203:405::/48');
  const first = choosePool([pool], 6, []);
  assert.equal(formatCidr(choosePool([pool], 6, [first])), 'fd01:203:405:1::/64');
});

test('a MAC address follows from the IPv4 address', () => {
  assert.equal(macOf(ip('172.17.0.2')), '02:42:ac:11:00:02');
});

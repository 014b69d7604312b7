import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import {
  type Cidr,
  contains,
  formatIp,
  formatMac,
  type Ip,
  ipBytes,
  ipFromBytes,
  lastIp,
  macBytes,
  overlaps,
  parseCidr,
  parseIp,
  parseMac,
} from './ip.ts';

const anyIp: fc.Arbitrary<Ip> = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((value): Ip => ({ family: 4, value })),
  fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map((value): Ip => ({ family: 6, value })),
  // Runs of zeros, which the text form shortens.
  fc
    .array(fc.constantFrom(0n, 0n, 0n, 1n, 0xffffn), { minLength: 8, maxLength: 8 })
    .map(
      (groups): Ip => ({ family: 6, value: groups.reduce<bigint>((v, g) => (v << 16n) | g, 0n) }),
    ),
);

test('text and bytes give the address back, and ipaddr.js reads them the same', () => {
  fc.assert(
    fc.property(anyIp, (ip) => {
      assert.deepEqual(parseIp(formatIp(ip)), ip);
      assert.deepEqual(ipFromBytes(ipBytes(ip)), ip);
      const other = ipaddr.parse(formatIp(ip));
      assert.deepEqual([...ipBytes(ip)], other.toByteArray());
      if (ip.family === 6) assert.equal(formatIp(ip), (other as ipaddr.IPv6).toRFC5952String());
    }),
  );
});

test('other spellings of IPv6 are read, and what is no address is not', () => {
  const same = (a: string, b: string) => assert.deepEqual(parseIp(a), parseIp(b));
  same('::ffff:1.2.3.4', '::ffff:102:304');
  same('FD00:0:0::1', 'fd00::1');
  same('1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0');
  const wrong = [
    '',
    '1.2.3',
    '1.2.3.4.5',
    '01.2.3.4',
    '256.1.1.1',
    '1.2.3.4 ',
    ':',
    ':::',
    '1::2::3',
  ];
  for (const text of [
    ...wrong,
    '1:2:3:4:5:6:7:8:9',
    '::12345',
    'fe80::1%eth0',
    '1.2.3.4::',
    'g::',
  ]) {
    assert.equal(parseIp(text), undefined, text);
  }
  for (const text of ['1.2.3.4', '1.2.3.4/33', '1.2.3.4/-1', '1.2.3.4/08', '::/129', '/8']) {
    assert.equal(parseCidr(text), undefined, text);
  }
});

test('overlap and containment agree with counting', () => {
  const small = fc
    .record({ value: fc.bigInt({ min: 0n, max: 255n }), prefix: fc.integer({ min: 24, max: 32 }) })
    .map(({ value, prefix }): Cidr => ({ address: { family: 4, value }, prefix }));
  const members = (cidr: Cidr): bigint[] =>
    Array.from({ length: 256 }, (_, i) => BigInt(i)).filter((value) =>
      contains(cidr, { family: 4, value }),
    );
  fc.assert(
    fc.property(small, small, (a, b) => {
      const inA = members(a);
      assert.equal(inA.length, 2 ** (32 - a.prefix));
      assert.equal(inA.at(-1), lastIp(a).value);
      assert.equal(
        overlaps(a, b),
        members(b).some((value) => inA.includes(value)),
      );
    }),
  );
});

test('hardware addresses have one text form', () => {
  assert.equal(parseMac('02-42-AC-11-00-02'), '02:42:ac:11:00:02');
  assert.equal(formatMac(macBytes('02:42:ac:11:00:02')), '02:42:ac:11:00:02');
  for (const text of ['', '02:42:ac:11:00', '02:42:ac:11:00:0g', '0242ac110002']) {
    assert.equal(parseMac(text), undefined);
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { hostsFile, hostsFileOfHost, ownNames, parseExtraHost } from './hosts-file.ts';
import {
  forBridge,
  forEmbeddedDns,
  formatResolvConf,
  onlyLoopback,
  parseResolvConf,
  withWishes,
} from './resolv-conf.ts';

const HOST = `# made by hand
nameserver 127.0.0.53
nameserver 192.0.2.53 ; the office
nameserver nonsense
domain old.example
search example.org  lab.example.org
options edns0 trust-ad
`;

test('the host file is read as resolv.conf(5) says', () => {
  const conf = parseResolvConf(HOST);
  assert.deepEqual(conf.nameservers, ['127.0.0.53', '192.0.2.53']);
  assert.deepEqual(conf.search, ['example.org', 'lab.example.org']);
  assert.deepEqual(conf.options, ['edns0', 'trust-ad']);
  assert.ok(!onlyLoopback(conf));
  assert.ok(onlyLoopback(parseResolvConf('nameserver 127.0.0.53\nnameserver ::1\n')));
  assert.ok(!onlyLoopback(parseResolvConf('')));
});

test('what is written is read back, whatever text came in', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), (text) => {
      const conf = parseResolvConf(text);
      const again = parseResolvConf(formatResolvConf(conf));
      assert.deepEqual(again.nameservers, conf.nameservers);
    }),
  );
});

test('a container gets servers that it can reach, and the wishes of its user', () => {
  const host = parseResolvConf(HOST);
  const none = { dns: [], dnsSearch: [], dnsOptions: [] };
  assert.equal(
    formatResolvConf(forBridge(withWishes(host, none))),
    'search example.org lab.example.org\nnameserver 192.0.2.53\noptions edns0 trust-ad\n',
  );
  assert.equal(
    formatResolvConf(forEmbeddedDns(withWishes(host, none))),
    'search example.org lab.example.org\nnameserver 127.0.0.11\noptions edns0 trust-ad ndots:0\n',
  );
  const wishes = { dns: ['1.1.1.1'], dnsSearch: ['.'], dnsOptions: ['ndots:2'] };
  assert.equal(
    formatResolvConf(forBridge(withWishes(host, wishes))),
    'nameserver 1.1.1.1\noptions ndots:2\n',
  );
  assert.deepEqual(forEmbeddedDns(withWishes(host, wishes)).options, ['ndots:2']);
  assert.deepEqual(forBridge(parseResolvConf('nameserver ::1')).nameservers, [
    '8.8.8.8',
    '8.8.4.4',
  ]);
});

test('the hosts file has the defaults, then what is given', () => {
  const text = hostsFile([{ ip: '172.17.0.2', names: ownNames('web', 'example.org') }]);
  assert.match(text, /^127\.0\.0\.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n/);
  assert.ok(text.endsWith('\n172.17.0.2\tweb.example.org web\n'));
  assert.deepEqual(ownNames('web.example.org', ''), ['web.example.org', 'web']);
  assert.equal(
    hostsFileOfHost('1.1.1.1 a', [{ ip: '2.2.2.2', names: ['b'] }]),
    '1.1.1.1 a\n2.2.2.2\tb\n',
  );
  assert.deepEqual(parseExtraHost('v6:[fd00::1]'), { name: 'v6', address: 'fd00::1' });
  assert.deepEqual(parseExtraHost('v6=fd00::1'), { name: 'v6', address: 'fd00::1' });
  assert.equal(parseExtraHost('nothing'), undefined);
});

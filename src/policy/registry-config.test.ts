import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { cidrContains, endpointsOf, isInsecure, parseMirror, proxyFor } from './registry-config.ts';

const NONE = { insecureRegistries: [], registryMirrors: [] };
const urls = (...args: Parameters<typeof endpointsOf>): string[] =>
  endpointsOf(...args).map((each) => `${each.url}${each.verify ? '' : ' unverified'}`);

test('registries are reached by TLS, insecure ones by TLS and without, loopback without first', () => {
  assert.deepEqual(urls('r.example', ['10.1.2.3'], NONE), ['https://r.example']);
  const insecure = { ...NONE, insecureRegistries: ['r.example:5000', '10.0.0.0/8'] };
  const both = (d: string): string[] => [`https://${d} unverified`, `http://${d} unverified`];
  assert.deepEqual(urls('r.example:5000', [], insecure), both('r.example:5000'));
  assert.deepEqual(urls('r.example', [], insecure), ['https://r.example']);
  assert.deepEqual(urls('other.example', ['10.1.2.3'], insecure), both('other.example'));
  for (const name of ['127.0.0.1:5000', 'localhost', '[::1]:5000']) {
    assert.deepEqual(urls(name, [], NONE), both(name).reverse());
  }
});

test('mirrors stand before docker.io and for nothing else', () => {
  const config = { ...NONE, registryMirrors: ['https://m.example/', 'http://127.0.0.1:1'] };
  assert.deepEqual(urls('docker.io', [], config), [
    'https://m.example',
    'http://127.0.0.1:1 unverified',
    'https://registry-1.docker.io',
  ]);
  assert.deepEqual(urls('quay.example', [], config), ['https://quay.example']);
});

test('a mirror is a plain URL', () => {
  assert.equal(parseMirror('https://m.example/path//'), 'https://m.example/path/');
  for (const bad of ['m.example', 'ftp://m.example', 'https://a:b@m.example', 'https://m/?x']) {
    assert.throws(() => parseMirror(bad), /^EngineError: invalid mirror: /);
  }
});

test('CIDRs contain what ipaddr.js says they contain', () => {
  const v4 = fc.ipV4().map((text) => [text, 32] as const);
  const v6 = fc.ipV6().map((text) => [text, 128] as const);
  fc.assert(
    fc.property(fc.oneof(v4, v6), fc.oneof(v4, v6), fc.nat(128), (net, it, bits) => {
      const prefix = bits % (net[1] + 1);
      const cidr = `${net[0]}/${prefix}`;
      const expected = net[1] === it[1] && ipaddr.parse(it[0]).match(ipaddr.parse(net[0]), prefix);
      assert.equal(cidrContains(cidr, it[0]), expected, `${it[0]} in ${cidr}`);
    }),
  );
  for (const bad of ['', '1.2.3/8', '1.2.3.4/33', '1.2.3.4/x', '::1::/8', 'a.b.c.d/8']) {
    assert.equal(cidrContains(bad, '1.2.3.4'), false, bad);
  }
});

test('a name with another port than the insecure one is not insecure', () => {
  assert.equal(isInsecure('r.example:5001', [], ['r.example:5000']), false);
  assert.equal(isInsecure('r.example:5000', [], ['r.example:5000']), true);
});

test('a proxy that cannot be used is an error that keeps its password to itself, and not gone around', () => {
  const at = new URL('https://r.example/v2/');
  for (const httpsProxy of [
    'socks5://u:pass@p:1080',
    'https://u:pass@p',
    'http://',
    'u:pass@p:x',
  ]) {
    assert.throws(() => proxyFor(at, { httpProxy: '', httpsProxy, noProxy: '' }), {
      kind: 'invalidArgument',
      message: 'cannot use the https-proxy: it must be http://[USER:PASSWORD@]HOST[:PORT]',
    });
    assert.equal(proxyFor(at, { httpProxy: '', httpsProxy, noProxy: 'r.example' }), undefined);
  }
  const bare = proxyFor(at, { httpProxy: '', httpsProxy: 'p:3128', noProxy: '' });
  assert.equal(bare?.href, 'http://p:3128/');
});

test('the proxy follows scheme and NO_PROXY', () => {
  const config = {
    httpProxy: 'http://p:3128',
    httpsProxy: 'p2:3129',
    noProxy: '.inner.example, host.example, 10.0.0.0/8 ,only.example:8443,*.star.example',
  };
  const via = (url: string): string | undefined => proxyFor(new URL(url), config)?.host;
  assert.equal(via('http://a.example'), 'p:3128');
  assert.equal(via('https://a.example'), 'p2:3129');
  for (const direct of [
    'https://x.inner.example',
    'https://host.example',
    'https://sub.host.example',
    'http://10.1.2.3',
    'https://only.example:8443',
    'https://x.star.example',
    'http://127.0.0.1:5000',
    'http://localhost',
    'http://[::1]',
  ]) {
    assert.equal(via(direct), undefined, direct);
  }
  assert.equal(via('https://inner.example'), 'p2:3129');
  assert.equal(via('https://only.example'), 'p2:3129');
  assert.equal(via('https://xhost.example'), 'p2:3129');
  assert.equal(proxyFor(new URL('https://a'), { ...config, noProxy: '*' }), undefined);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isEngineError } from '../base/errors.ts';
import { type DaemonHost, resolveDaemonConfig } from './daemon-config.ts';
import { parseDaemonFile } from './daemon-file.ts';
import { daemonUsage, parseDaemonFlags } from './daemon-flags.ts';
import { formatListenAddress, isLoopback, parseListenAddress } from './daemon-listen.ts';
import { DAEMON_OPTIONS } from './daemon-options.ts';
import { reloadDaemonConfig } from './daemon-reload.ts';

const HOST: DaemonHost = {
  runtimes: { crun: '/usr/bin/crun', runc: '/usr/sbin/runc' },
  certificates: '/root/.docker',
  env: {},
};

function resolve(args: readonly string[], file?: unknown, host = HOST) {
  const flags = parseDaemonFlags(args);
  const text = typeof file === 'string' ? file : JSON.stringify(file ?? {});
  return resolveDaemonConfig(flags, parseDaemonFile(text, '/etc/daemon.json', flags), host);
}

function refuses(message: string | RegExp, args: readonly string[], file?: unknown): void {
  assert.throws(
    () => resolve(args, file),
    (error: unknown) => {
      assert.ok(isEngineError(error, 'invalidArgument'), String(error));
      if (typeof message === 'string') assert.equal(error.message, message);
      else assert.match(error.message, message);
      return true;
    },
  );
}

test('without flags and file it is a daemon for a device', () => {
  const { engine, listen, tls, logLevel, pidfile } = resolve([]);
  assert.equal(engine.dataRoot, '/var/lib/coracle');
  assert.equal(engine.execRoot, '/run/coracle');
  assert.equal(engine.defaultRuntime, 'crun');
  assert.equal(engine.logConfig.Type, 'json-file');
  assert.equal(engine.maxConcurrentDownloads, 3);
  assert.equal(engine.defaultShmSizeBytes, 64 << 20);
  assert.deepEqual(listen, [{ kind: 'unix', path: '/run/coracle.sock' }]);
  assert.deepEqual([tls, logLevel, pidfile], [undefined, 'info', '/run/coracle.pid']);
  assert.equal(resolve([], {}, { ...HOST, runtimes: {} }).engine.defaultRuntime, 'runc');
});

test('flags follow the grammar of pflag', () => {
  const { engine, listen, logLevel } = resolve([
    ...['-D', '-H', 'unix:///a', '-Htcp://:99', '--host=fd://', '--label', 'a=1', '--label=b=2=3'],
    ...['--iptables=false', '--ipv6=T', '--mtu', '1400', '--default-shm-size', '1g'],
    ...['--log-opt', 'max-size=1m', '--log-opt', 'max-file=3', '--add-runtime', 'mine=/bin/mine'],
    ...['--default-ulimit', 'nofile=10:20', '--default-address-pool', 'base=10.9.0.0/16,size=24'],
  ]);
  assert.equal(logLevel, 'debug');
  assert.deepEqual(listen.map(formatListenAddress), ['unix:///a', 'tcp://localhost:99', 'fd://']);
  assert.deepEqual(engine.labels, ['a=1', 'b=2=3']);
  assert.deepEqual([engine.iptables, engine.ipMasq, engine.ipv6], [false, false, true]);
  assert.deepEqual([engine.mtu, engine.defaultShmSizeBytes], [1400, 1 << 30]);
  assert.deepEqual(engine.logConfig.Config, { 'max-size': '1m', 'max-file': '3' });
  assert.deepEqual(engine.runtimes['mine'], { path: '/bin/mine', args: [] });
  assert.deepEqual(engine.defaultUlimits['nofile'], { Name: 'nofile', Soft: 10, Hard: 20 });
  assert.deepEqual(engine.defaultAddressPools, [{ base: '10.9.0.0/16', size: 24 }]);
});

test('a flag that is not one, or has no value or a bad one, is one clear error', () => {
  refuses("unknown flag: --x\nSee 'coracled --help'.", ['--x=1']);
  refuses(/^unknown shorthand flag: 'x' in -x/, ['-Dx']);
  refuses(/^flag needs an argument: --mtu/, ['--mtu']);
  refuses(/^flag needs an argument: 'H' in -H/, ['-H']);
  refuses(/^"coracled" accepts no arguments, and "serve" is one/, ['-D', 'serve']);
  refuses(/accepts no arguments, and "-D" is one/, ['--', '-D']);
  refuses(
    'invalid argument "abc" for "--mtu" flag: strconv.ParseInt: parsing "abc": invalid syntax',
    ['--mtu', 'abc'],
  );
  refuses(
    'invalid argument "maybe" for "-D, --debug" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
    ['--debug=maybe'],
  );
  refuses(/must be formatted name=path$/, ['--add-runtime', 'x']);
  refuses(/^invalid argument "nofile=3:2" for "--default-ulimit"/, [
    '--default-ulimit',
    'nofile=3:2',
  ]);
});

test('the file says the same by other keys', () => {
  const { engine, listen } = resolve([], {
    hosts: ['tcp://0.0.0.0:1'],
    labels: ['a=1'],
    'default-shm-size': '128M',
    runtimes: { mine: { path: '/bin/mine', runtimeArgs: ['--debug'] } },
    'default-ulimits': { nofile: { Name: 'nofile', Soft: 1, Hard: 2 } },
    'log-opts': { 'max-size': '5m' },
    'exec-opts': ['native.cgroupdriver=systemd'],
    proxies: { 'http-proxy': 'http://p:1' },
    features: { buildkit: true, 'containerd-snapshotter': false },
  });
  assert.deepEqual(listen, [{ kind: 'tcp', host: '0.0.0.0', port: 1 }]);
  assert.deepEqual(engine.runtimes['mine'], { path: '/bin/mine', args: ['--debug'] });
  assert.equal(engine.defaultShmSizeBytes, 128 << 20);
  assert.equal(engine.cgroupDriver, 'systemd');
  assert.equal(engine.httpProxy, 'http://p:1');
  assert.deepEqual(resolve([], '').engine, resolve([], '{}').engine);
});

test('what flag and file both say is refused, as is an unknown key and a wrong type', () => {
  const at = 'unable to configure the Docker daemon with file /etc/daemon.json: ';
  const twice =
    'the following directives are specified both as a flag and in the configuration file: ';
  refuses(`${at}${twice}debug: (from flag: true, from file: false)`, ['-D'], { debug: false });
  refuses(`${at}${twice}labels: (from flag: [a=1], from file: [b=2 c=3])`, ['--label', 'a=1'], {
    labels: ['b=2', 'c=3'],
  });
  refuses(`${at}the following directives don't match any configuration option: colour`, [], {
    colour: 1,
  });
  refuses(`${at}json: cannot unmarshal string into Go struct field Config.debug of type bool`, [], {
    debug: 'yes',
  });
  refuses(/^unable to configure the Docker daemon with file \/etc\/daemon.json: .*JSON/, [], '{');
  const both = resolve(['--add-runtime', 'a=/a'], { runtimes: { b: { path: '/b' } } });
  assert.deepEqual(Object.keys(both.engine.runtimes).sort(), ['a', 'b', 'crun', 'runc']);
});

test('values that cannot work are refused at once', () => {
  refuses("specified default runtime 'x' does not exist. Name it with --add-runtime", [
    '--default-runtime=x',
  ]);
  refuses("runtime name 'runc' is reserved", ['--add-runtime', 'runc=/x']);
  refuses('dns: nowhere is not an ip address', ['--dns', 'nowhere']);
  refuses('bip: invalid CIDR address: 10.0.0.1', ['--bip', '10.0.0.1']);
  refuses('conflict labels for a=1 and a=2', ['--label', 'a=1', '--label', 'a=2']);
  refuses('bad attribute format: a', ['--label', 'a']);
  refuses(/^You specified --iptables=false with --icc=false/, ['--iptables=false', '--icc=false']);
  refuses(/^invalid max concurrent downloads: -1/, ['--max-concurrent-downloads', '-1']);
  refuses(/^invalid logging level: loud/, ['-l', 'loud']);
  refuses(/^invalid mirror: unsupported scheme/, ['--registry-mirror', 'mirror.example']);
  refuses(/^driver not supported: aufs/, ['-s', 'aufs']);
  refuses(/^invalid bind address \(npipe:\/\/x\)/, ['-H', 'npipe://x']);
  refuses(/must be an absolute path$/, ['--data-root', 'data']);
});

test('what does nothing here is accepted and told', () => {
  const { ignored } = resolve(['--containerd', '/run/c.sock', '--raw-logs'], { builder: {} });
  assert.equal(ignored.length, 3);
  assert.match(ignored[0] ?? '', /^--containerd does nothing: /);
});

test('TLS comes from flags, or DOCKER_TLS_VERIFY and DOCKER_CERT_PATH', () => {
  assert.equal(resolve(['--tls']).tls?.verify, false);
  assert.deepEqual(resolve(['--tlsverify', '--tlscert', '/c', '-H', 'tcp://']), {
    ...resolve(['-H', 'tcp://:2376']),
    tls: {
      verify: true,
      certFile: '/c',
      keyFile: '/root/.docker/key.pem',
      caFile: '/root/.docker/ca.pem',
    },
  });
  const env = { DOCKER_TLS_VERIFY: '1' };
  assert.equal(resolve([], {}, { ...HOST, env }).tls?.verify, true);
});

test('addresses are read in every form, and print as they are read', () => {
  const read = (text: string) => formatListenAddress(parseListenAddress(text, false));
  assert.equal(read('unix://'), 'unix:///run/coracle.sock');
  assert.equal(read('0.0.0.0:5'), 'tcp://0.0.0.0:5');
  assert.equal(read('tcp://[::1]:5'), 'tcp://[::1]:5');
  assert.equal(read('tcp://'), 'tcp://localhost:2375');
  assert.equal(formatListenAddress(parseListenAddress('tcp://h', true)), 'tcp://h:2376');
  for (const bad of ['unix://a', 'tcp://h:70000', 'tcp://h:1/path', 'tcp://a b:1', '::1']) {
    assert.throws(() => parseListenAddress(bad, false), /invalid bind address/, bad);
  }
  assert.ok(isLoopback('127.0.0.1') && isLoopback('::1') && !isLoopback('0.0.0.0'));
});

test('a reload takes over what dockerd reloads and names what has to wait', () => {
  const before = resolve([], { labels: ['a=1'], mtu: 1400 });
  const after = resolve([], { labels: ['a=2'], mtu: 1300, debug: true });
  const { config, changed, waiting } = reloadDaemonConfig(before, after);
  assert.deepEqual(changed, ['debug', 'labels']);
  assert.deepEqual(waiting, ['mtu']);
  assert.equal(config.engine.mtu, 1400);
  assert.equal(config.logLevel, 'debug');
  assert.deepEqual(config.engine.labels, ['a=2']);
});

test('flags and keys are unique, and each shown flag is in the usage', () => {
  const flags = DAEMON_OPTIONS.flatMap((option) => option.flag ?? []);
  const keys = DAEMON_OPTIONS.flatMap((option) => option.key ?? []);
  assert.equal(new Set(flags).size, flags.length);
  assert.equal(new Set(keys).size, keys.length);
  assert.match(daemonUsage(100), /-H, --host list {3,}Socket to listen on/);
});

test('any words and any JSON end in a configuration or in one invalidArgument', () => {
  const word = fc.oneof(
    fc.constantFrom(...DAEMON_OPTIONS.flatMap((option) => `--${option.flag ?? ''}`)),
    fc.string({ maxLength: 12 }),
  );
  const keys = fc.constantFrom(...DAEMON_OPTIONS.flatMap((option) => option.key ?? []));
  fc.assert(
    fc.property(fc.array(word), fc.dictionary(keys, fc.jsonValue()), (args, file) => {
      try {
        resolve(args, file);
      } catch (error) {
        assert.ok(isEngineError(error, 'invalidArgument'), String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EngineError } from '../base/errors.ts';
import { encodeLogAttributes, journaldFields, logAttributes, logTag } from './log-attributes.ts';
import { mergeLogConfig, planLog } from './log-options.ts';

const plan = (Type: string, Config: Record<string, string> = {}) => planLog({ Type, Config });

function fails(body: () => unknown, message: string | RegExp): void {
  assert.throws(body, (error) => {
    assert.ok(error instanceof EngineError, String(error));
    assert.equal(error.kind, 'invalidArgument');
    if (typeof message === 'string') assert.equal(error.message, message);
    else assert.match(error.message, message);
    return true;
  });
}

test('logs are bounded by default, as by what is asked for', () => {
  const bounds = (type: string, options = {}): number[] => {
    const { maxSizeBytes, filesMax } = plan(type, options);
    return [maxSizeBytes, filesMax];
  };
  assert.deepEqual(bounds('json-file'), [10_000_000, 3]);
  assert.deepEqual(bounds('local'), [20_000_000, 5]);
  assert.deepEqual(bounds('json-file', { 'max-size': '10m', 'max-file': '5' }), [10_000_000, 5]);
  // In Docker one file is the default number, so 5 MB asked for are 5 MB and not 15.
  assert.deepEqual(bounds('json-file', { 'max-size': '5m' }), [5_000_000, 1]);
  assert.deepEqual(bounds('json-file', { 'max-file': '2' }), [10_000_000, 2]);
  assert.deepEqual(bounds('json-file', { 'max-size': '-1' }), [0, 1]);
  assert.deepEqual(bounds('json-file', { 'max-size': '1.5k' }), [1500, 1]);
});

test('cloud drivers are refused with a sentence that names those there are', () => {
  for (const type of ['awslogs', 'gcplogs', 'splunk', 'gelf', 'fluentd', 'logentries']) {
    fails(
      () => plan(type, {}),
      `the log driver ${type} is not part of this engine: use json-file, local, journald, syslog, none`,
    );
  }
  fails(() => plan('nope', {}), "logger: no log driver named 'nope' is registered");
});

test('rotated files are packed when that is asked for', () => {
  for (const driver of ['json-file', 'local']) {
    assert.equal(plan(driver, {}).compress, false);
    assert.equal(plan(driver, { compress: 'false' }).compress, false);
    assert.equal(plan(driver, { compress: 'true', 'max-file': '3' }).compress, true);
  }
});

test('bad options are refused in the words of Docker', () => {
  fails(() => plan('json-file', { size: '1' }), "unknown log opt 'size' for json-file log driver");
  fails(
    () => plan('local', { 'syslog-tag': '1' }),
    "unknown log opt 'syslog-tag' for log driver local",
  );
  fails(
    () => plan('journald', { 'max-size': '1' }),
    "unknown log opt 'max-size' for journald log driver",
  );
  fails(
    () => plan('syslog', { 'max-size': '1' }),
    "unknown log opt 'max-size' for syslog log driver",
  );
  fails(() => plan('json-file', { 'max-size': 'big' }), "invalid size: 'big'");
  fails(() => plan('json-file', { 'max-size': '0' }), 'max-size must be a positive number');
  fails(() => plan('json-file', { 'max-file': '0' }), 'max-file cannot be less than 1');
  fails(() => plan('json-file', { 'max-file': '99999' }), 'max-file cannot be more than 1000');
  fails(() => plan('json-file', { 'max-file': 'x' }), 'strconv.Atoi: parsing "x": invalid syntax');
  fails(
    () => plan('json-file', { compress: 'yes' }),
    'strconv.ParseBool: parsing "yes": invalid syntax',
  );
  fails(
    () => plan('json-file', { compress: 'true', 'max-size': '1m' }),
    'compress cannot be true when max-file is less than 2 or max-size is not set',
  );
  fails(() => plan('json-file', { mode: 'fast' }), 'logger: logging mode not supported: fast');
  fails(
    () => plan('json-file', { 'max-buffer-size': '1m' }),
    "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
  );
  fails(
    () => plan('json-file', { mode: 'non-blocking', 'max-buffer-size': 'x' }),
    "error parsing option max-buffer-size: invalid size: 'x'",
  );
  fails(() => plan('json-file', { 'labels-regex': '(' }), /error parsing regexp/);
  fails(() => plan('smoke'), "logger: no log driver named 'smoke' is registered");
  fails(() => plan('gelf'), /the log driver gelf is not part of this engine: use json-file, local/);
});

test('the mode and its buffer', () => {
  const { nonBlocking, bufferBytes } = plan('local', {
    mode: 'non-blocking',
    'max-buffer-size': '4m',
  });
  assert.deepEqual([nonBlocking, bufferBytes], [true, 4 << 20]);
  assert.equal(plan('local', { mode: 'blocking' }).nonBlocking, false);
  assert.equal(plan('none', { anything: 'goes' }).driver, 'none');
});

test('syslog addresses, facilities and formats', () => {
  const target = (options: Record<string, string> = {}) => plan('syslog', options).syslog;
  assert.deepEqual(target(), {
    network: 'unixgram',
    address: '',
    port: 0,
    facility: 3,
    format: '',
  });
  const at = (address: string): unknown[] => {
    const { network, address: host, port } = target({ 'syslog-address': address }) ?? {};
    return [network, host, port];
  };
  assert.deepEqual(at('udp://logs.example:1514'), ['udp', 'logs.example', 1514]);
  assert.deepEqual(at('tcp://10.0.0.1'), ['tcp', '10.0.0.1', 514]);
  assert.deepEqual(at('tcp://[::1]:99'), ['tcp', '::1', 99]);
  assert.deepEqual(at('unix:///run/log'), ['unix', '/run/log', 0]);
  fails(() => at('logs:514'), 'syslog-address should be in form proto://address, got logs:514');
  fails(() => at('udp://a:0'), /should be in form/);
  fails(() => at('tcp+tls://a:1'), /tcp\+tls is not part of this engine/);
  assert.equal(target({ 'syslog-facility': 'local7' })?.facility, 23);
  assert.equal(target({ 'syslog-facility': '16' })?.facility, 16);
  fails(() => target({ 'syslog-facility': 'kitchen' }), 'invalid syslog facility');
  fails(() => target({ 'syslog-facility': '24' }), 'invalid syslog facility');
  fails(() => target({ 'syslog-format': 'x' }), 'Invalid syslog format');
});

test("the daemon's options hold for its own driver only", () => {
  const defaults = { Type: 'json-file', Config: { 'max-size': '1m', 'max-file': '2' } };
  assert.deepEqual(mergeLogConfig({ Type: '', Config: { 'max-file': '4' } }, defaults), {
    Type: 'json-file',
    Config: { 'max-size': '1m', 'max-file': '4' },
  });
  assert.deepEqual(mergeLogConfig({ Type: 'local', Config: {} }, defaults), {
    Type: 'local',
    Config: {},
  });
});

const subject = {
  id: '0123456789abcdef'.repeat(4),
  name: 'web',
  imageId: `sha256:${'fe'.repeat(32)}`,
  imageName: 'nginx:1',
  command: ['nginx', '-g', 'daemon off;'],
  labels: { role: 'front', 'com.example.x': '1', z: '' },
  env: ['PATH=/bin', 'A=b=c', 'NOVALUE'],
};

test('tags take fields of the container', () => {
  assert.equal(logTag('', '{{.ID}}', subject), '0123456789ab');
  assert.equal(
    logTag('{{.Name}}/{{ .ImageName }}/{{.ImageID}}-{{.DaemonName}}', '', subject),
    'web/nginx:1/sha256:fefef-coracle',
  );
  assert.equal(logTag('{{.FullID}}', '', subject), subject.id);
  assert.equal(logTag('{{.Command}}', '', subject), 'nginx -g daemon off;');
  fails(
    () => logTag('{{.Nothing}}', '', subject),
    /bad log tag: {{\.Nothing}} is not one of {{\.ID}}/,
  );
  fails(() => logTag('{{.constructor}}', '', subject), /bad log tag/);
  fails(() => logTag('{{range .X}}', '', subject), /bad log tag/);
});

test('attributes: labels, variables and the tag, by name and by pattern', () => {
  const attributes = (options: Record<string, string>): string =>
    encodeLogAttributes(logAttributes(plan('json-file', options).attributes, subject));
  assert.equal(attributes({}), '');
  assert.equal(attributes({ tag: '<&>\u2028"' }), '{"tag":"\\u003c\\u0026\\u003e\\u2028\\""}');
  assert.equal(
    attributes({ labels: 'role,absent', env: 'A,NOVALUE', tag: '{{.Name}}' }),
    '{"A":"b=c","role":"front","tag":"web"}',
  );
  assert.equal(
    attributes({ 'labels-regex': '^com\\.', 'env-regex': '^P' }),
    '{"PATH":"/bin","com.example.x":"1"}',
  );
  assert.deepEqual(
    journaldFields(plan('journald', { labels: 'com.example.x,z' }).attributes, subject),
    [
      'CONTAINER_ID=0123456789ab',
      `CONTAINER_ID_FULL=${subject.id}`,
      'CONTAINER_NAME=web',
      'CONTAINER_TAG=0123456789ab',
      'IMAGE_NAME=nginx:1',
      'SYSLOG_IDENTIFIER=0123456789ab',
      'COM_EXAMPLE_X=1',
      'Z=',
    ],
  );
  const heavy = { ...subject, labels: { role: 'x'.repeat(40_000) } };
  fails(
    () => logAttributes(plan('json-file', { labels: 'role' }).attributes, heavy),
    /more than 32768 bytes/,
  );
});

test('whatever the options, there is one plan or one clear error', () => {
  const keys = [
    'max-size',
    'max-file',
    'compress',
    'mode',
    'tag',
    'labels-regex',
    'syslog-address',
    'x',
  ];
  const config = fc.record({
    Type: fc.constantFrom('json-file', 'local', 'journald', 'syslog', 'none', 'awslogs', ''),
    Config: fc.dictionary(
      fc.constantFrom(...keys),
      fc.oneof(fc.string(), fc.constantFrom('1', 'true', '10m', '-1')),
    ),
  });
  fc.assert(
    fc.property(config, (each) => {
      try {
        const { maxSizeBytes, filesMax, bufferBytes } = planLog(each);
        assert.ok(maxSizeBytes >= 0 && filesMax >= 1 && filesMax <= 1000 && bufferBytes >= 0);
      } catch (error) {
        assert.ok(error instanceof EngineError, String(error));
        assert.equal(error.kind, 'invalidArgument');
      }
    }),
    { numRuns: 2000 },
  );
});

import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { type Box, openBox } from '../support/box.ts';
import type { Answer } from '../support/daemon.ts';
import { eventually } from '../support/processes.ts';

/** Log drivers and their options, from the request to the file and back. */

let box: Box;
before(async () => {
  box = await openBox({ flags: ['--log-opt', 'max-size=1m', '--log-opt', 'max-file=4'] });
});
after(() => box[Symbol.asyncDispose]());

const logTo = (Type: string, Config: Record<string, string> = {}) => ({
  HostConfig: { LogConfig: { Type, Config } },
});

/** A terminal's log, which has no frames, as `GET /containers/ID/logs` gives it. */
async function logsOf(id: string, query = ''): Promise<string> {
  const answer = await box.daemon.api('GET', `/containers/${id}/logs?stdout=1&stderr=1${query}`);
  assert.equal(answer.status, 200, answer.text);
  return answer.text.replaceAll('\r\n', '\n');
}

const shell = (command: string) => ({ Cmd: ['sh', '-c', command], Tty: true });
const messageIn = (answer: Answer): string => (answer.json() as { message: string }).message;
const numbers = (from: number, to: number): string =>
  Array.from({ length: to - from + 1 }, (_, i) => `${from + i}\n`).join('');

test('a log that is rotated and packed is read whole, while the daemon is killed under it', async () => {
  const options = { 'max-size': '20k', 'max-file': '100', compress: 'true' };
  const script = 'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; done; sleep 2; echo 3001';
  const id = await box.up({ ...shell(script), ...logTo('json-file', options) });
  await box.daemon.restart('SIGKILL');
  assert.equal(await box.wait(id), 0);
  const { LogPath } = (await box.inspect(id)) as unknown as { LogPath: string };
  assert.equal(path.basename(LogPath), `${id}-json.log`);
  const names = readdirSync(path.dirname(LogPath)).filter((each) => /\.\d+\.gz$/.test(each));
  assert.ok(names.length >= 10 && names.includes(`${id}-json.log.1.gz`), names.join(' '));
  const oldest = names
    .map((each) => Number(/(\d+)\.gz$/.exec(each)?.[1]))
    .toSorted((a, b) => b - a);
  const first = gunzipSync(readFileSync(`${LogPath}.${oldest[0]}.gz`)).toString();
  assert.equal((JSON.parse(first.slice(0, first.indexOf('\n'))) as { log: string }).log, '1\r\n');
  assert.equal(await logsOf(id), numbers(1, 3001));
  assert.equal(await logsOf(id, '&tail=1500'), numbers(1502, 3001));
  const stamped = (await logsOf(id, '&timestamps=1&tail=1')).split(' ');
  const since = Date.parse(stamped[0] ?? '') / 1000 - 0.5;
  assert.equal(await logsOf(id, `&since=${since}`), '3001\n');
  await box.remove(id);
  assert.throws(() => readdirSync(path.dirname(LogPath)), { code: 'ENOENT' });
});

test("the daemon's options hold where a container names no driver, and are shown", async () => {
  const id = await box.up(shell('echo hello'));
  await box.wait(id);
  const { HostConfig } = await box.inspect(id);
  assert.deepEqual(HostConfig.LogConfig, {
    Type: 'json-file',
    Config: { 'max-size': '1m', 'max-file': '4' },
  });
  await box.remove(id);
});

test('labels, variables and the tag are put before each line with details', async () => {
  const options = {
    ...{ labels: 'role,absent', 'labels-regex': '^app\\.', env: 'MODE', 'env-regex': '^X_' },
    tag: '{{.Name}}/{{.ID}}',
  };
  for (const driver of ['json-file', 'local']) {
    const id = await box.up(
      {
        ...shell('echo hello'),
        ...logTo(driver, options),
        Labels: { role: 'web server', 'app.part': 'a', other: 'no' },
        Env: ['MODE=fast', 'X_Y=1', 'NOT=no'],
      },
      `tagged-${driver}`,
    );
    await box.wait(id);
    const tag = encodeURIComponent(`tagged-${driver}/${id.slice(0, 12)}`);
    assert.equal(
      await logsOf(id, '&details=1'),
      `MODE=fast,X_Y=1,app.part=a,role=web+server,tag=${tag} hello\n`,
    );
    await box.remove(id);
  }
});

test('with mode=non-blocking a container is logged too, and restarted into the same log', async () => {
  const options = {
    mode: 'non-blocking',
    'max-buffer-size': '4m',
    'max-size': '10k',
    'max-file': '50',
    compress: 'true',
  };
  const id = await box.create({ ...shell('seq 1 2000'), ...logTo('local', options) });
  for (let round = 0; round < 2; round += 1) {
    await box.start(id);
    await box.wait(id);
  }
  assert.equal(await logsOf(id), numbers(1, 2000).repeat(2));
  await box.remove(id);
});

test('syslog gets each line by its facility, format and tag, and cannot be read back', async () => {
  const server = createSocket('udp4').bind(0, '127.0.0.1');
  await once(server, 'listening');
  const lines: string[] = [];
  server.on('message', (message) => lines.push(message.toString()));
  const options = {
    ...{
      'syslog-address': `udp://127.0.0.1:${server.address().port}`,
      'syslog-facility': 'local3',
    },
    ...{ 'syslog-format': 'rfc5424', tag: 'unit-{{.Name}}' },
  };
  const id = await box.up({ ...shell('echo one; echo two'), ...logTo('syslog', options) }, 'sys');
  await box.wait(id);
  await eventually(() => lines.length === 2, { what: 'two lines' });
  for (const [i, word] of ['one', 'two'].entries()) {
    // 19 is local3, 6 is informational.
    assert.match(lines[i] ?? '', new RegExp(`^<${19 * 8 + 6}>1 .* unit-sys .*${word}`));
  }
  const answer = await box.daemon.api('GET', `/containers/${id}/logs?stdout=1`);
  assert.deepEqual(
    [answer.status, messageIn(answer)],
    [501, 'configured logging driver does not support reading'],
  );
  server.close();
  await box.remove(id);
});

test('what is wrong with a log configuration is said when the container is made', async () => {
  const refused: [type: string, options: Record<string, string>, message: RegExp][] = [
    ['json-file', { colour: 'red' }, /^unknown log opt 'colour' for json-file log driver$/],
    ['local', { 'syslog-tag': 'x' }, /^unknown log opt 'syslog-tag' for log driver local$/],
    ['json-file', { 'max-file': '0' }, /^max-file cannot be less than 1$/],
    ['json-file', { compress: 'true', 'max-file': '1' }, /^compress cannot be true when max-file/],
    ['json-file', { 'max-buffer-size': '1m' }, /max-buffer-size option is only supported with/],
    [
      'syslog',
      { 'syslog-address': 'tcp+tls://10.0.0.1:6514' },
      /tcp\+tls is not part of this engine/,
    ],
    ['syslog', { 'syslog-facility': 'kitchen' }, /^invalid syslog facility$/],
    ['awslogs', {}, /^the log driver awslogs is not part of this engine: use json-file, local/],
    ['paper', {}, /^logger: no log driver named 'paper' is registered$/],
  ];
  for (const [type, options, message] of refused) {
    const answer = await box.tryCreate({ Cmd: ['true'], ...logTo(type, options) });
    assert.equal(answer.status, 400, answer.text);
    assert.match(messageIn(answer), message);
  }
});

test('who follows a log sees lines as they come, and the end', async () => {
  const id = await box.up({ ...shell('echo one; sleep 0.7; echo two'), ...logTo('local') });
  const began = performance.now();
  assert.equal(await logsOf(id, '&follow=1'), 'one\ntwo\n');
  assert.ok(performance.now() - began > 300);
  await box.remove(id);
});

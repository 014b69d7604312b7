import assert from 'node:assert/strict';
import { test } from 'node:test';
import dnsPacket from 'dns-packet';
import { LIMITS } from '../../../base/limits.ts';
import { type DnsAnswer, RCODE } from '../../../formats/dns.ts';
import type { LocalAnswer } from './dns-server.ts';
import { askTcp, askUdp, serveUpstream, serveZone } from './fixture.ts';

function question(name: string, id = 4711, type: 'A' | 'TXT' = 'A'): Buffer {
  const flags = dnsPacket.RECURSION_DESIRED;
  return dnsPacket.encode({ type: 'query', id, flags, questions: [{ type, name }] });
}

function framed(message: Uint8Array): Buffer {
  const frame = Buffer.alloc(2);
  frame.writeUInt16BE(message.length);
  return Buffer.concat([frame, message]);
}

function reply(query: Buffer, data: string, more: object = {}): Buffer {
  const { id, questions = [] } = dnsPacket.decode(query);
  const name = questions[0]?.name ?? '';
  return dnsPacket.encode({
    type: 'response',
    id: id ?? 0,
    flags: 0x180,
    questions,
    answers: [{ type: 'A', name, ttl: 60, data }],
    ...more,
  });
}

function addressIn(message: Buffer | undefined): string | undefined {
  const answer = message === undefined ? undefined : dnsPacket.decode(message).answers?.[0];
  return answer?.type === 'A' ? answer.data : undefined;
}

function rcodeOf(message: Buffer | undefined): number | undefined {
  return message === undefined ? undefined : message.readUInt16BE(2) & 15;
}

const local = (name: string): LocalAnswer => {
  const answers: DnsAnswer[] = [{ ip: { family: 4, value: 0x0a000002n } }];
  return name === 'web' ? { rcode: RCODE.OK, answers } : 'forward';
};

test('a name of its own is answered over UDP and TCP, and nobody else is asked', async () => {
  using outside = await serveUpstream((query) => [reply(query, '198.51.100.1')]);
  const upstreams = () => [outside.upstream];
  using server = serveZone({ lookUp: ({ name }) => local(name), upstreams });
  assert.equal(addressIn(await askUdp(server.udp, [question('WEB')])), '10.0.0.2');
  const tcp = await askTcp(server.tcp, framed(question('web')));
  assert.equal(addressIn(tcp.subarray(2)), '10.0.0.2');
  assert.equal(outside.asked.length, 0);
});

test('other names are asked outside, with an ID of our own, and kept for their time', async () => {
  using outside = await serveUpstream((query) => [reply(query, '198.51.100.1')]);
  using server = serveZone({
    lookUp: ({ name }) => local(name),
    upstreams: () => [outside.upstream],
  });
  const first = await askUdp(server.udp, [question('a.example', 1)]);
  const second = await askUdp(server.udp, [question('A.example', 2)]);
  assert.deepEqual([addressIn(first), first?.readUInt16BE(0)], ['198.51.100.1', 1]);
  assert.deepEqual([addressIn(second), second?.readUInt16BE(0)], ['198.51.100.1', 2]);
  assert.equal(outside.asked.length, 1, 'the second from the cache');
  const tcp = await askTcp(server.tcp, framed(question('a.example', 3)));
  assert.equal(addressIn(tcp.subarray(2)), '198.51.100.1');
  assert.equal(outside.asked.length, 2, 'TCP is asked over TCP');
});

test('replies that are forged, broken or about something else do not count', async () => {
  using outside = await serveUpstream((query) => {
    const forged = reply(query, '66.66.66.66');
    forged.writeUInt16BE(forged.readUInt16BE(0) ^ 0x5555, 0);
    const other = reply(question('b.example', query.readUInt16BE(0)), '66.66.66.66');
    return [forged, other, Buffer.from([1]), reply(query, '198.51.100.1')];
  });
  using server = serveZone({ lookUp: () => 'forward', upstreams: () => [outside.upstream] });
  assert.equal(addressIn(await askUdp(server.udp, [question('a.example')])), '198.51.100.1');
});

test('a resolver that fails or is silent is followed by the next; none left is SERVFAIL', async () => {
  using silent = await serveUpstream(() => []);
  using failing = await serveUpstream((query) => [
    reply(query, '0.0.0.0', { answers: [], flags: 0x182 }),
  ]);
  using good = await serveUpstream((query) => [reply(query, '198.51.100.1')]);
  let upstreams = [silent.upstream, failing.upstream, good.upstream];
  using server = serveZone({ lookUp: () => 'forward', upstreams: () => upstreams });
  assert.equal(addressIn(await askUdp(server.udp, [question('a.example')])), '198.51.100.1');
  upstreams = [failing.upstream];
  assert.equal(rcodeOf(await askUdp(server.udp, [question('b.example')])), RCODE.SERVFAIL);
  upstreams = [];
  assert.equal(rcodeOf(await askUdp(server.udp, [question('c.example')])), RCODE.SERVFAIL);
});

test('a truncated reply is passed on as it is, so that the client comes by TCP', async () => {
  using outside = await serveUpstream((query) => [reply(query, '198.51.100.1', { flags: 0x380 })]);
  using server = serveZone({ lookUp: () => 'forward', upstreams: () => [outside.upstream] });
  const got = await askUdp(server.udp, [question('big.example')]);
  assert.ok(got !== undefined && (got.readUInt16BE(2) & 0x200) !== 0);
});

test('questions under way are bounded, and the same one is asked once', async () => {
  using outside = await serveUpstream(() => []);
  using server = serveZone({ lookUp: () => 'forward', upstreams: () => [outside.upstream] });
  const same = Array.from({ length: 20 }, (_, i) => question('same.example', i));
  const many = Array.from({ length: 300 }, (_, i) => question(`n${i}.example`, i));
  await askUdp(server.udp, same, 50);
  let answer: Buffer | undefined;
  // In portions, so that none is lost before the server sees it.
  for (let i = 0; i < many.length && answer === undefined; i += 50) {
    answer = await askUdp(server.udp, many.slice(i, i + 50), 50);
  }
  assert.equal(rcodeOf(answer), RCODE.SERVFAIL, 'what is too much is refused at once');
  assert.ok(server.forwarder.pending <= LIMITS.dnsPendingPerContainerMax);
  assert.equal(outside.asked.filter((each) => each.includes('same')).length, 1);
});

test('TCP: connections are bounded; those that are too many end, and UDP goes on', async () => {
  using server = serveZone({ lookUp: ({ name }) => local(name), upstreams: () => [] });
  const net = await import('node:net');
  let ended = 0;
  const sockets = Array.from({ length: LIMITS.dnsTcpConnectionsMax + 8 }, () => {
    const socket = net.connect({ host: '127.0.0.1', port: server.tcp });
    socket.on('error', () => undefined);
    socket.on('close', () => (ended += 1));
    return socket.resume();
  });
  for (let i = 0; i < 100 && ended < 8; i += 1) await new Promise((done) => setTimeout(done, 20));
  assert.equal(ended, 8);
  assert.equal(addressIn(await askUdp(server.udp, [question('web')])), '10.0.0.2');
  for (const socket of sockets) socket.destroy();
  await new Promise((done) => setTimeout(done, 50));
  const tcp = await askTcp(server.tcp, framed(question('web')));
  assert.equal(addressIn(tcp.subarray(2)), '10.0.0.2', 'there is room again');
});

test('TCP: several questions on one connection, in pieces; nonsense closes it', async () => {
  using server = serveZone({ lookUp: ({ name }) => local(name), upstreams: () => [] });
  const both = Buffer.concat([framed(question('web', 1)), framed(question('web', 2))]);
  const net = await import('node:net');
  const socket = net.connect({ host: '127.0.0.1', port: server.tcp });
  for (const byte of both) socket.write(Buffer.from([byte]));
  const got: Buffer[] = [];
  for await (const chunk of socket) {
    got.push(chunk as Buffer);
    const all = Buffer.concat(got);
    if (all.length > 2 && all.length >= 2 * (2 + all.readUInt16BE(0))) break;
  }
  const all = Buffer.concat(got);
  const length = 2 + all.readUInt16BE(0);
  assert.deepEqual([all.readUInt16BE(2), all.readUInt16BE(length + 2)], [1, 2]);
  assert.equal((await askTcp(server.tcp, framed(Buffer.alloc(30, 0xff)))).length, 0);
});

/**
 * What loads a network in the bench: a program of its own, started in the namespace that the load
 * comes from or goes to. It prints one number.
 *
 *   serve PORT              takes connections and reads all they send, for ever
 *   send IP PORT SECONDS    bytes a second that one connection carries
 *   connect IP PORT COUNT   microseconds that a connection takes to come about, the median
 *   resolve SERVER NAME SECONDS WIDTH   answers a second, with WIDTH questions under way
 */
import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import { median } from './accounting.ts';

const CHUNK = Buffer.alloc(256 << 10, 'x');

function serve(port: number): void {
  const server = net.createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.resume();
  });
  server.listen(port, '::', () => console.log('ready'));
}

async function send(host: string, port: number, seconds: number): Promise<number> {
  const socket = net.connect({ host, port });
  await once(socket, 'connect');
  const write = async (untilMs: number): Promise<void> => {
    while (performance.now() < untilMs) if (!socket.write(CHUNK)) await once(socket, 'drain');
  };
  await write(performance.now() + 300);
  const before = socket.bytesWritten;
  const began = performance.now();
  await write(began + seconds * 1000);
  const perSecond = ((socket.bytesWritten - before) / (performance.now() - began)) * 1000;
  socket.destroy();
  return perSecond;
}

async function connect(host: string, port: number, count: number): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const began = performance.now();
    const socket = net.connect({ host, port });
    await once(socket, 'connect');
    times.push((performance.now() - began) * 1000);
    socket.destroy();
  }
  return median(times);
}

/** A question for the A record of a name of one label. */
function question(name: string, id: number): Buffer {
  const head = Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.length]);
  return Buffer.concat([head, Buffer.from(name), Buffer.from([0, 0, 1, 0, 1])]);
}

async function resolve(
  server: string,
  name: string,
  seconds: number,
  width: number,
): Promise<number> {
  const socket = dgram.createSocket('udp4');
  socket.connect(53, server);
  await once(socket, 'connect');
  const untilMs = performance.now() + seconds * 1000;
  let answers = 0;
  let id = 0;
  const ask = (): void => {
    id = (id + 1) & 0xffff;
    socket.send(question(name, id));
  };
  socket.on('message', (reply) => {
    if (reply.readUInt16BE(6) < 1) throw new Error(`${name} has no address`);
    answers += 1;
    if (performance.now() < untilMs) ask();
  });
  for (let i = 0; i < width; i++) ask();
  await new Promise((done) => setTimeout(done, seconds * 1000));
  socket.close();
  return answers / seconds;
}

const [what = '', ...args] = process.argv.slice(2);
const [first = '', second = '', third = '', fourth = ''] = args;
switch (what) {
  case 'serve':
    serve(Number(first));
    break;
  case 'send':
    console.log(await send(first, Number(second), Number(third)));
    break;
  case 'connect':
    console.log(await connect(first, Number(second), Number(third)));
    break;
  case 'resolve':
    console.log(await resolve(first, second, Number(third), Number(fourth)));
    break;
  default:
    throw new Error(`network-load: what is ${what}?`);
}

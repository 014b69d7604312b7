import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isEngineError } from '../base/errors.ts';
import { type ResponseHead, ResponseParser } from './http-parser.ts';

type Parsed = { head: ResponseHead | undefined; body: string; isWhole: boolean };

/** Feeds a response in pieces cut at `cuts`, by one buffer that is filled again each time. */
function parse(
  text: string,
  options: { cuts?: number[]; method?: string; end?: boolean } = {},
): Parsed {
  const bytes = Buffer.from(text, 'latin1');
  const cuts = [...(options.cuts ?? []), bytes.length]
    .map((cut) => Math.min(cut, bytes.length))
    .sort((a, b) => a - b);
  const parser = new ResponseParser(options.method ?? 'GET');
  const shared = Buffer.alloc(bytes.length);
  const parsed: Parsed = { head: undefined, body: '', isWhole: false };
  let from = 0;
  for (const cut of cuts) {
    shared.fill(0xff);
    const length = bytes.copy(shared, 0, from, cut);
    from = cut;
    if (length === 0) continue;
    parser.push(shared.subarray(0, length));
    take(parser, parsed);
  }
  if (options.end !== false) {
    parser.end();
    take(parser, parsed);
  }
  return parsed;
}

function take(parser: ResponseParser, parsed: Parsed): void {
  for (;;) {
    const part = parser.next();
    if (part.kind === 'need') return;
    if (part.kind === 'end') {
      parsed.isWhole = true;
      return;
    }
    if (part.kind === 'head') parsed.head = part.head;
    else parsed.body += part.data.toString('latin1');
  }
}

const cuts = fc.array(fc.nat(400), { maxLength: 12 });
const body = fc.string({ unit: 'binary-ascii', maxLength: 120 });

test('bodies by length, by chunks and to the end come whole, however they are cut', () => {
  fc.assert(
    fc.property(body, cuts, fc.array(fc.integer({ min: 1, max: 30 })), (text, at, sizes) => {
      const plain = `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\nX: y\r\n\r\n${text}`;
      const one = parse(plain, { cuts: at, end: false });
      assert.equal(one.body, text);
      assert.equal(one.isWhole, true);
      assert.equal(one.head?.headers.get('x'), 'y');

      let rest = text;
      let chunked = 'HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n';
      for (const size of [...sizes, 1000]) {
        const chunk = rest.slice(0, size);
        rest = rest.slice(size);
        if (chunk !== '') chunked += `${chunk.length.toString(16)};x=y\r\n${chunk}\r\n`;
      }
      const two = parse(`${chunked}0\r\nTrailer: z\r\n\r\n`, { cuts: at, end: false });
      assert.deepEqual([two.body, two.isWhole], [text, true]);

      const three = parse(`HTTP/1.0 200 OK\r\n\r\n${text}`, { cuts: at });
      assert.deepEqual([three.body, three.isWhole, three.head?.keepAlive], [text, true, false]);
    }),
  );
});

test('interim answers are passed over; HEAD and 204 have no body', () => {
  const continued =
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n';
  assert.equal(parse(continued, { end: false }).head?.status, 201);
  const head = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n';
  assert.equal(parse(head, { method: 'HEAD', end: false }).isWhole, true);
  assert.equal(parse('HTTP/1.1 204 No Content\r\n\r\n', { end: false }).isWhole, true);
});

for (const [what, text] of [
  ['ends in the head', 'HTTP/1.1 200 OK\r\nA: b\r\n'],
  ['ends in the body', 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc'],
  ['ends between chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n'],
] as const) {
  test(`a response that ${what} is truncated`, () => {
    assert.throws(
      () => parse(text),
      (e) => isEngineError(e) && e.detail['http'] === 'truncated',
    );
  });
}

for (const [what, text] of [
  ['is not HTTP', 'SSH-2.0-OpenSSH\r\n'],
  ['has two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'],
  ['has a negative length', 'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n'],
  ['has a bad header', 'HTTP/1.1 200 OK\r\nno colon\r\n\r\n'],
  ['has a bad chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n'],
  ['is gzip-coded', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n'],
  ['has an endless head', `HTTP/1.1 200 OK\r\n${'A: b\r\n'.repeat(20_000)}`],
  [
    'has an endless chunk line',
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${'1'.repeat(9000)}`,
  ],
] as const) {
  test(`a response that ${what} is refused`, () => {
    assert.throws(
      () => parse(text, { end: false }),
      (e) => isEngineError(e) && e.detail['http'] !== 'truncated',
    );
  });
}

test('no bytes make it throw anything but its own errors, or hang', () => {
  const line = fc.oneof(
    fc.constantFrom(
      'HTTP/1.1 200 OK\r\n',
      'Transfer-Encoding: chunked\r\n',
      'Content-Length: 5\r\n',
      '\r\n',
      '5\r\nhello\r\n',
      '0\r\n',
    ),
    fc.string({ unit: 'binary-ascii', maxLength: 20 }),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 10 }), cuts, (lines, at) => {
      try {
        parse(lines.join(''), { cuts: at });
      } catch (error) {
        assert(isEngineError(error), String(error));
      }
    }),
    { numRuns: 3000 },
  );
});

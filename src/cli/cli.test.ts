import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import type { CliOutput } from './context.ts';
import { ellipsis, rfc3339 } from './display.ts';
import { splitCsv } from './flags.ts';
import { formatRows, type RowShape } from './format.ts';
import { ProgressView } from './progress.ts';
import { formatPorts } from './shapes/container.ts';
import { statsRow } from './shapes/stats.ts';
import { alignTabs } from './tabwriter.ts';
import { apiTime } from './time-flag.ts';

type Row = { readonly id: string; readonly labels: Readonly<Record<string, string>> };
const SHAPE: RowShape<Row> = {
  typeName: '*formatter.row',
  fields: {
    ID: { header: 'ROW ID', value: (row) => row.id },
    Hidden: { header: '', value: () => 'h' },
  },
  methods: { Label: (row) => (name) => row.labels[String(name)] ?? '' },
};
const ROWS: readonly Row[] = [
  { id: 'a', labels: { 'com.example.some-name': 'x' } },
  { id: 'a-long-identity', labels: {} },
];
const named = { table: '{{.ID}}\\t{{.Label "com.example.some-name"}}' };

test('lists are tables, JSON or what a template makes of each row', () => {
  assert.equal(
    formatRows(ROWS, '', SHAPE, named),
    'ROW ID            some name\na                 x\na-long-identity   \n',
  );
  assert.equal(formatRows(ROWS, 'table {{.ID}}', SHAPE, named), 'ROW ID\na\na-long-identity\n');
  assert.equal(formatRows(ROWS, '{{.ID}}-{{.Hidden}}', SHAPE, named), 'a-h\na-long-identity-h\n');
  assert.equal(formatRows(ROWS.slice(0, 1), 'json', SHAPE, named), '{"Hidden":"h","ID":"a"}\n');
  assert.equal(
    formatRows(ROWS.slice(0, 1), 'table {{json .ID}}\t{{upper .ID}}', SHAPE, named),
    'ROW ID    ROW ID\n"a"       A\n',
  );
  assert.throws(() => formatRows(ROWS, '{{.Nope}}', SHAPE, named), {
    message:
      'failed to execute template: template: :1:2: executing "" at <.Nope>: can\'t evaluate field Nope in type *formatter.row',
  });
});

test('a table keeps every cell and lines up every column', () => {
  const cell = fc.string({ unit: fc.constantFrom('a', 'b', 'ä', ' ') });
  fc.assert(
    fc.property(fc.array(fc.tuple(cell, cell, cell)), (rows) => {
      const text = rows.map((cells) => `${cells.join('\t')}\n`).join('');
      const lines = alignTabs(text).split('\n').slice(0, -1);
      const width = (column: 0 | 1): number => {
        const widest = Math.max(0, ...rows.map((cells) => Array.from(cells[column]).length));
        return widest === 0 ? 10 : Math.max(10, widest + 3);
      };
      rows.forEach(([a, b, c], i) => {
        assert.equal(lines[i], a.padEnd(width(0)) + b.padEnd(width(1)) + c);
      });
    }),
  );
});

test('CSV is read as Go reads it', () => {
  assert.deepEqual(splitCsv('a,"b,c","d""e",'), ['a', 'b,c', 'd"e', '']);
  assert.throws(() => splitCsv('a"b'), /column 2: bare " in non-quoted-field/);
  fc.assert(
    fc.property(fc.array(fc.string(), { minLength: 1 }), (fields) => {
      const record = fields.map((field) => `"${field.replaceAll('"', '""')}"`).join(',');
      assert.deepEqual(splitCsv(record), fields);
    }),
  );
});

function output(isTTY: boolean): CliOutput {
  return Object.assign(new Writable(), { isTTY, columns: 40, rows: 5 });
}

test('progress is redrawn in place on a terminal, and plain lines elsewhere', () => {
  const messages = [
    { status: 'Pulling from x', id: 'latest' },
    { status: 'Pulling fs layer', id: 'aaa', progressDetail: {} },
    { status: 'Pulling fs layer', id: 'bbb', progressDetail: {} },
    { status: 'Downloading', id: 'aaa', progressDetail: { current: 1000, total: 4000 } },
    { status: 'Status: done' },
  ];
  const plain = new ProgressView(output(false));
  assert.equal(
    messages.map((message) => plain.render(message)).join(''),
    'latest: Pulling from x\naaa: Pulling fs layer\nbbb: Pulling fs layer\nStatus: done\n',
  );
  const live = new ProgressView(output(true));
  assert.deepEqual(
    messages.map((message) => live.render(message)),
    [
      '\r\x1b[2Klatest: Pulling from x\n',
      '\r\x1b[2Kaaa: Pulling fs layer\n',
      '\r\x1b[2Kbbb: Pulling fs layer\n',
      '\x1b[2A\r\x1b[2Kaaa: Downloading 1kB/4kB\r\x1b[2B',
      'Status: done\n',
    ],
  );
  const long = live.render({ id: 'ccc', status: 'x'.repeat(100) });
  assert.equal(long.replace(/^\r\x1b\[2K|\n$/g, '').length, 39, 'cut before it wraps');
  for (const id of ['d', 'e', 'f', 'g']) live.render({ id, status: 'x' });
  assert.equal(live.render({ id: 'ccc', status: 'y' }), '', 'it has scrolled away');
});

test('ports are gathered into ranges', () => {
  const port = (PrivatePort: number, PublicPort?: number, IP?: string) => ({
    PrivatePort,
    Type: 'tcp',
    ...(PublicPort === undefined ? {} : { PublicPort }),
    ...(IP === undefined ? {} : { IP }),
  });
  assert.equal(formatPorts([]), '');
  assert.equal(formatPorts([port(81), port(80), port(90)]), '80-81/tcp, 90/tcp');
  assert.equal(
    formatPorts([port(80, 8080, '0.0.0.0'), port(80, 8080, '::'), port(443)]),
    '443/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp',
  );
  assert.equal(
    formatPorts([port(81, 81, '0.0.0.0'), port(80, 80, '0.0.0.0')]),
    '0.0.0.0:80-81->80-81/tcp',
  );
});

test('times are taken as Docker takes them', () => {
  const now = Date.parse('2026-01-02T03:04:05Z');
  assert.equal(apiTime('', now, 'since'), '');
  assert.equal(apiTime('42m', now, 'since'), `${now / 1000 - 42 * 60}.000000000`);
  assert.equal(apiTime('2026-01-02T03:04:05.5Z', now, 'since'), `${now / 1000}.500000000`);
  assert.equal(apiTime('1700000000.25', now), '1700000000.25');
  assert.throws(() => apiTime('yesterday', now, 'since'), /invalid value for "since"/);
});

test('texts are cut by characters, and times keep their zone', () => {
  assert.equal(ellipsis('héllo wörld', 6), 'héllo…');
  assert.equal(ellipsis('short', 5), 'short');
  assert.equal(Date.parse(rfc3339(1_700_000_000)), 1_700_000_000_000);
});

test('statistics are worked out from two samples', () => {
  const cpu = (total: number, system: number) => ({
    cpu_usage: { total_usage: total, usage_in_kernelmode: 0, usage_in_usermode: 0 },
    system_cpu_usage: system,
    online_cpus: 2,
    throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
  });
  const none = {
    io_serviced_recursive: null,
    io_queue_recursive: null,
    io_service_time_recursive: null,
    io_wait_time_recursive: null,
    io_merged_recursive: null,
    io_time_recursive: null,
    sectors_recursive: null,
  };
  const row = statsRow(
    { container: 'x', id: 'x', name: '', sample: undefined },
    {
      name: '/web',
      id: 'x',
      read: '',
      preread: '',
      pids_stats: { current: 3 },
      blkio_stats: {
        ...none,
        io_service_bytes_recursive: [
          { major: 8, minor: 0, op: 'Read', value: 5 },
          { major: 8, minor: 0, op: 'write', value: 7 },
        ],
      },
      num_procs: 0,
      storage_stats: {},
      cpu_stats: cpu(300, 2000),
      precpu_stats: cpu(200, 1000),
      memory_stats: { usage: 1000, limit: 10_000, stats: { inactive_file: 400 } },
    },
  );
  assert.equal(row.name, 'web');
  assert.deepEqual(row.sample, {
    cpuPercent: 20,
    memoryBytes: 600,
    memoryLimitBytes: 10_000,
    memoryPercent: 6,
    receivedBytes: 0,
    sentBytes: 0,
    readBytes: 5,
    writtenBytes: 7,
    pids: 3,
  });
});

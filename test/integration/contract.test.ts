import assert from 'node:assert/strict';
import { createConnection } from 'node:net';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { CONTRACT, type OperationName } from '../../src/api/contract/contract.ts';
import type { EndpointSpec } from '../../src/api/contract/endpoint.ts';
import { HANDLERS } from '../../src/api/handlers.ts';
import { hostileRequest, sendHostile } from '../../src/api/hostile.ts';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { busyboxImage, layerTar, pushImage } from '../support/images.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import {
  type Leeway,
  loadSwagger,
  operationsOf,
  problemsOf,
  type Swagger,
} from '../support/swagger.ts';

/**
 * Calls every endpoint of the running daemon and compares what comes back with the facts of
 * Docker's API: statuses, fields, their types, nothing missing, nothing unknown.
 */

let daemon: TestDaemon;
let registry: Registry;
let image: string;

before(async () => {
  registry = await startRegistry();
  await pushImage(registry, 'team/busybox', 'v1', await busyboxImage());
  image = `${registry.host}/team/busybox:v1`;
  daemon = await startDaemon();
});
after(async () => {
  await daemon?.[Symbol.asyncDispose]();
  await registry?.[Symbol.asyncDispose]();
});

/** Go leaves these out when they are zero (`omitempty`), or never sets them on Linux. */
const MISSING = [
  ...['error', 'errorDetail', 'progress', 'progressDetail', 'id', 'aux', 'Error', 'Health'],
  ...['SizeRw', 'SizeRootFs', 'UsageData', 'Status', 'ClusterVolume', 'Peers', 'GwPriority'],
  ...['ImageManifestDescriptor', 'Descriptor', 'Manifests', 'annotations', 'urls', 'data'],
  ...['artifactType', 'os.version', 'os.features', 'variant', 'OsVersion', 'Variant'],
  ...['AttestationData', 'ContainerConfig', 'Container', 'Port.IP', 'Port.PublicPort'],
  ...['OCIDescriptor.platform'],
  ...['MountPoint.Name', 'MountPoint.Driver', 'ContainerConfig.ExposedPorts'],
  ...['ExposedPorts', 'Healthcheck', 'ArgsEscaped', 'NetworkDisabled', 'MacAddress'],
  ...['StopSignal', 'StopTimeout', 'Shell', 'Mounts', 'StorageOpt', 'Tmpfs', 'Sysctls', 'Init'],
  ...['Annotations', 'KernelMemory', 'KernelMemoryTCP', 'KernelMemory', 'InitPath', 'Cgroup'],
  ...['DnsOptions', 'ImageConfig.User', 'ImageConfig.Volumes', 'ImageConfig.WorkingDir'],
  ...['ImageConfig.Entrypoint', 'ImageConfig.OnBuild', 'ImageConfig.Labels', 'ImageConfig.Env'],
  ...['ImageConfig.Cmd', 'ConfigFrom', 'Tags', 'EnableIPv4', 'status', 'FirewallBackend'],
  ...['SystemInfo.DefaultAddressPools', 'Containerd', 'DiscoveredDevices', 'ProductLicense'],
  ...['Experimental', 'runtimeArgs', 'ContainerSummary.Annotations', 'Untagged', 'Deleted'],
  ...['BuilderSize', 'Subnet', 'IPRange', 'Gateway', 'AuxiliaryAddresses', 'IPAMConfig.Gateway'],
  ...['IPv4Address', 'IPv6Address', 'LinkLocalIPs', 'HealthConfig.Interval', 'CpuCount'],
  ...['Interval', 'Timeout', 'Retries', 'StartPeriod', 'StartInterval', 'Consistency'],
  ...['BindOptions', 'VolumeOptions', 'TmpfsOptions', 'ImageOptions', 'user', 'privileged'],
  // Stats: by the host's cgroup version, and the fields of Windows.
  ...['commitbytes', 'commitpeakbytes', 'privateworkingset', 'read_count_normalized'],
  ...['read_size_bytes', 'write_count_normalized', 'write_size_bytes', 'endpoint_id'],
  ...['instance_id', 'max_usage', 'failcnt', 'percpu_usage', 'limit', 'current', 'networks'],
  // Swarm: this node is in none.
  ...['Cluster', 'Nodes', 'Managers', 'TLSInfo', 'Isolation', 'NodeAddr'],
  // Fields of version 1.41 that no daemon has written for years.
  ...['ClusterStore', 'ClusterAdvertise', 'SystemStatus', 'Expected', 'InitCommit.Expected'],
  ...['BridgeNfIptables', 'BridgeNfIp6tables', 'SwarmInfo.Error', 'DriverOpts', 'Parent'],
  ...['BaseLayer', 'Mount.Target', 'Mount.ReadOnly', 'FirewallInfo.Info'],
  // Null where Go has a pointer, though the definitions do not say so.
  ...['HostConfig.MemorySwappiness', 'HostConfig.OomKillDisable', 'ExitCode'],
];

/** Its definition has names in capitals, which no daemon has ever written. */
const MISDRAWN = new Set(['imageDistribution v1.41']);

/** What Docker's daemon writes beyond its own definitions. */
const EXTRA = [
  // Events: the twins for old clients.
  ...['status', 'id', 'from'],
  ...['DNSNames', 'GwPriority', 'Options', 'EnableIPv4', 'ConfigFrom'],
  ...['CDISpecDirs', 'ConfigOnly', 'BuilderSize'],
  // Version 1.41 describes the mounts of a list as those of a request.
  ...['Name', 'Destination', 'Driver', 'Mode', 'RW', 'Propagation'],
];

const leeway: Leeway = { missing: new Set(MISSING), extra: new Set(EXTRA) };

type Wish = {
  readonly params?: Record<string, string>;
  readonly query?: string;
  readonly body?: unknown;
  readonly status?: number;
};

/** One run through the API at one version. */
class Run {
  readonly called = new Set<OperationName>();
  readonly problems: string[] = [];
  readonly #swagger: Swagger;

  constructor(swagger: Swagger) {
    this.#swagger = swagger;
  }

  get version(): string {
    return this.#swagger.version;
  }

  is(name: OperationName): boolean {
    return name in HANDLERS;
  }

  /** Calls an operation, checks the answer, and returns its body. */
  async call(name: OperationName, wish: Wish = {}): Promise<unknown> {
    const endpoint: EndpointSpec = CONTRACT[name];
    const path = endpoint.path.replace(/\{(\w+)(\.\.\.)?\}/g, (_, key: string, rest?: string) => {
      const value = wish.params?.[key] ?? '';
      return rest === undefined ? encodeURIComponent(value) : value;
    });
    const query = wish.query === undefined ? '' : `?${wish.query}`;
    const answer = await daemon.api(endpoint.method, `/v${this.version}${path}${query}`, wish.body);
    const { status, text } = answer;
    const expected = wish.status ?? endpoint.answer.status;
    assert.equal(status, expected, `${name} ${path}${query}: ${status} ${text}`);
    this.note(name, status, text);
    return endpoint.answer.kind === 'bytes' || text === '' ? text : this.#values(text)[0];
  }

  /** Checks an answer that was had in another way. */
  note(name: OperationName, status: number, text: string): void {
    const endpoint: EndpointSpec = CONTRACT[name];
    const at = endpoint.path.replace('...}', '}');
    const where = `${name} v${this.version} ${status}`;
    if (status >= 400) {
      const { message } = JSON.parse(text) as { message?: unknown };
      if (typeof message !== 'string') this.problems.push(`${where}: no message in ${text}`);
      const known = this.#swagger.paths[at]?.[endpoint.method.toLowerCase()]?.responses ?? {};
      // Docker answers these wherever they fit, though the definitions do not list them all.
      if (!(status in known) && ![400, 404, 409].includes(status)) {
        this.problems.push(`${where} is none of ${Object.keys(known).join(' ')}`);
      }
      return;
    }
    if (status !== 304) this.called.add(name);
    if (MISDRAWN.has(`${name} v${this.version}`)) return;
    const { kind } = endpoint.answer;
    const isJson = kind === 'value' || kind === 'later' || text.startsWith('{');
    const bodies = isJson ? this.#values(text).map((value) => ({ value })) : [undefined];
    const operation = { method: endpoint.method, path: at, status };
    for (const body of bodies) {
      for (const problem of problemsOf(this.#swagger, operation, body, leeway)) {
        this.problems.push(`${where}: ${problem}`);
      }
    }
  }

  #values(text: string): unknown[] {
    if (text === '') return [undefined];
    try {
      return [JSON.parse(text)];
    } catch {
      return text
        .split('\n')
        .filter((line) => line.trim() !== '')
        .map((line) => JSON.parse(line) as unknown);
    }
  }
}

const UPGRADE = 'Connection: Upgrade\r\nUpgrade: tcp\r\n';

/** Sends a request that takes its connection over; resolves with all that came, once it ends. */
async function takeOver(request: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    const socket = createConnection({ path: daemon.socket });
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')));
    socket.write(request);
  });
}

async function systemCalls(run: Run): Promise<void> {
  await run.call('systemPing');
  await run.call('systemPingHead');
  await run.call('systemVersion');
  await run.call('systemInfo');
  await run.call('systemEvents', { query: `since=0&until=${Math.floor(Date.now() / 1000)}` });
  await run.call('systemEvents', { query: 'since=never', status: 400 });
  await run.call('systemEvents', { query: 'filters=no', status: 400 });
}

async function imageCalls(run: Run): Promise<void> {
  await run.call('imagePull', { query: `fromImage=${encodeURIComponent(image)}` });
  await run.call('imagePull', { query: `fromImage=${registry.host}/nothing`, status: 404 });
  await run.call('imagePull', { query: 'fromImage=UPPER', status: 400 });
  await run.call('imageList', { query: 'all=1&shared-size=1&digests=1' });
  await run.call('imageList', { query: 'filters={"nothing":["x"]}', status: 400 });
  await run.call('imageInspect', { params: { name: image } });
  await run.call('imageInspect', { params: { name: 'nothing' }, status: 404 });
  await run.call('imageHistory', { params: { name: image } });
  await run.call('imageHistory', { params: { name: 'nothing' }, status: 404 });
  await run.call('imageTag', { params: { name: image }, query: 'repo=mine&tag=v1' });
  await run.call('imageTag', { params: { name: image }, query: 'repo=BAD', status: 400 });
  await run.call('imageTag', { params: { name: 'nothing' }, query: 'repo=a', status: 404 });
  await run.call('imageSearch', { query: 'term=', status: 400 });
  await run.call('imageDistribution', { params: { name: image } });
  const archive = Buffer.from((await run.call('imageSave', { query: 'names=mine:v1' })) as string);
  assert.ok(archive.length > 0);
  await run.call('imageSaveOne', { params: { name: 'mine:v1' } });
  await run.call('imageSaveOne', { params: { name: 'nothing' }, status: 404 });
  const tar = await layerTar([{ name: 'hello', content: 'world' }]);
  await run.call('imageImport', { query: 'fromSrc=-&repo=imported&tag=v1', body: tar });
  await run.call('imageTag', {
    params: { name: image },
    query: `repo=${registry.host}/team/pushed&tag=v1`,
  });
  await run.call('imagePush', {
    params: { name: `${registry.host}/team/pushed` },
    query: 'tag=v1',
  });
  await run.call('imageRemove', { params: { name: `${registry.host}/team/pushed:v1` } });
  await run.call('imageRemove', { params: { name: 'imported:v1' } });
  await run.call('imageRemove', { params: { name: 'mine:v1' } });
  await run.call('imageRemove', { params: { name: 'nothing' }, status: 404 });
  await run.call('imagePrune');
  await run.call('imagePrune', { query: 'filters={"bad":["x"]}', status: 400 });
}

/** `docker load` of what `docker save` gave, as bytes. */
async function loadCall(run: Run): Promise<void> {
  const tar = await layerTar([{ name: 'not-an-image', content: 'x' }]);
  const answer = await daemon.api('POST', `/v${run.version}/images/load`, tar);
  assert.ok(answer.status >= 200, answer.text);
  run.note('imageLoad', answer.status, answer.text);
}

async function buildCalls(run: Run): Promise<void> {
  const tar = await layerTar([{ name: 'Dockerfile', content: 'FROM scratch\nLABEL a=b\n' }]);
  await run.call('imageBuild', { query: 't=built:v1', body: tar });
  await run.call('imageBuild', { query: 'version=2', body: tar, status: 400 });
  await run.call('imageHistory', { params: { name: 'built:v1' } });
  await run.call('imageRemove', { params: { name: 'built:v1' } });
  await run.call('buildPrune');
}

async function volumeAndNetworkCalls(run: Run): Promise<void> {
  await run.call('volumeCreate', { body: { Name: 'vol', Labels: { a: 'b' } } });
  await run.call('volumeCreate', { body: { Name: 'bad name' }, status: 400 });
  await run.call('volumeList');
  await run.call('volumeInspect', { params: { name: 'vol' } });
  await run.call('volumeInspect', { params: { name: 'nothing' }, status: 404 });
  await run.call('volumeRemove', { params: { name: 'vol' } });
  await run.call('volumeRemove', { params: { name: 'nothing' }, status: 404 });
  await run.call('volumePrune');

  await run.call('networkCreate', { body: { Name: 'net', Labels: { a: 'b' } } });
  await run.call('networkCreate', { body: { Name: '' }, status: 400 });
  await run.call('networkList');
  await run.call('networkInspect', { params: { id: 'net' } });
  await run.call('networkInspect', { params: { id: 'nothing' }, status: 404 });
}

async function makeContainer(run: Run, body: object, name: string): Promise<string> {
  const created = await run.call('containerCreate', {
    query: `name=${name}`,
    body: { Image: image, ...body },
  });
  return (created as { Id: string }).Id;
}

async function containerCalls(run: Run): Promise<void> {
  const id = await makeContainer(
    run,
    {
      Cmd: ['sh', '-c', 'echo out; echo err >&2; sleep 1000'],
      Labels: { a: 'b' },
      ExposedPorts: { '80/tcp': {} },
      StopSignal: 'SIGKILL',
      Healthcheck: { Test: ['CMD', 'true'], Interval: 1e9 },
      HostConfig: { PortBindings: { '80/tcp': [{}] }, Binds: ['data:/data'], Memory: 64 << 20 },
    },
    'main',
  );
  const at = { params: { id } };
  const none = { params: { id: 'nothing' }, status: 404 };
  await run.call('containerCreate', { query: 'name=main', body: { Image: image }, status: 409 });
  await run.call('containerCreate', { body: { Image: 'nothing' }, status: 404 });
  await run.call('containerCreate', { body: '{"Image": 5}', status: 400 });
  await run.call('containerInspect', at);
  await run.call('containerList', { query: 'all=1&size=1' });
  await run.call('containerList', { query: 'filters={"nothing":["x"]}', status: 400 });
  await run.call('containerStart', at);
  await run.call('containerStart', { ...at, status: 304 });
  await run.call('containerStart', none);
  await run.call('containerInspect', { ...at, query: 'size=1' });
  await run.call('containerInspect', none);
  await run.call('containerList');
  await run.call('networkConnect', { params: { id: 'net' }, body: { Container: 'main' } });
  await run.call('networkInspect', { params: { id: 'net' }, query: 'verbose=1' });
  await run.call('containerInspect', at);
  await run.call('networkDisconnect', { params: { id: 'net' }, body: { Container: 'main' } });
  await run.call('networkConnect', {
    params: { id: 'nothing' },
    body: { Container: id },
    status: 404,
  });
  await run.call('containerLogs', { ...at, query: 'stdout=1&stderr=1&timestamps=1' });
  await run.call('containerLogs', { ...none, query: 'stdout=1' });
  await resizeCalls(run);
  await run.call('containerTop', at);
  await run.call('containerTop', none);
  await run.call('containerStats', { ...at, query: 'stream=0' });
  await run.call('containerStats', { ...none, query: 'stream=0' });
  await run.call('containerUpdate', { ...at, body: { Memory: 128 << 20, MemorySwap: -1 } });
  await run.call('containerRename', { ...at, query: 'name=other' });
  await run.call('containerRename', { ...none, query: 'name=x' });
  await run.call('containerPause', at);
  await run.call('containerUnpause', at);
  await execCalls(run, id);
  await fileCalls(run, id);
  await endCalls(run, id);
}

async function resizeCalls(run: Run): Promise<void> {
  const id = await makeContainer(run, { Tty: true, Cmd: ['sleep', '100'] }, 'terminal');
  const at = { params: { id } };
  await run.call('containerResize', { ...at, query: 'h=20&w=80', status: 409 });
  await run.call('containerStart', at);
  await run.call('containerResize', { ...at, query: 'h=20&w=80' });
  await run.call('containerResize', { ...at, query: 'h=tall&w=80', status: 400 });
  await run.call('containerRemove', { ...at, query: 'force=1' });
  const plain = { params: { id: await makeContainer(run, { Cmd: ['sleep', '100'] }, 'plain') } };
  await run.call('containerStart', plain);
  await run.call('containerResize', { ...plain, query: 'h=20&w=80' });
  await run.call('containerRemove', { ...plain, query: 'force=1' });
}

async function execCalls(run: Run, id: string): Promise<void> {
  const body = { AttachStdout: true, Cmd: ['echo', 'hello'] };
  const made = await run.call('execCreate', { params: { id }, body });
  const exec = { params: { id: (made as { Id: string }).Id } };
  await run.call('execInspect', exec);
  await run.call('execInspect', { params: { id: 'nothing' }, status: 404 });
  const json = '{"Detach":false,"Tty":false}';
  const taken = await takeOver(
    `POST /v${run.version}/exec/${exec.params.id}/start HTTP/1.1\r\nHost: d\r\n${UPGRADE}Content-Type: application/json\r\nContent-Length: ${json.length}\r\n\r\n${json}`,
  );
  assert.match(taken, /^HTTP\/1\.1 101 UPGRADED\r\n.*hello\n/s);
  await run.call('execInspect', exec);
  const detached = await run.call('execCreate', {
    params: { id },
    body: { Cmd: ['sleep', '100'], Tty: true },
  });
  const running = { params: { id: (detached as { Id: string }).Id } };
  await run.call('execStart', { ...running, body: { Detach: true, Tty: true } });
  await run.call('execStart', { params: { id: 'nothing' }, body: { Detach: true }, status: 404 });
  await run.call('execResize', { ...running, query: 'h=10&w=10' });
  await run.call('execInspect', running);

  const attached = takeOver(
    `POST /v${run.version}/containers/${id}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: d\r\n${UPGRADE}\r\n`,
  );
  const websocket = takeOver(
    `GET /v${run.version}/containers/${id}/attach/ws?stream=1&stdout=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
  );
  const waiting = run.call('containerWait', { params: { id }, query: 'condition=next-exit' });
  await run.call('containerRestart', { params: { id }, query: 't=0' });
  assert.match(await attached, /^HTTP\/1\.1 101 UPGRADED/);
  run.note('containerAttach', 101, '');
  assert.match(await websocket, /^HTTP\/1\.1 101 Switching/);
  run.note('containerAttachWebsocket', 101, '');
  await waiting;
}

async function fileCalls(run: Run, id: string): Promise<void> {
  const at = { params: { id } };
  if (run.is('containerArchivePut')) {
    const tar = await layerTar([{ name: 'put', content: 'here' }]);
    await run.call('containerArchivePut', { ...at, query: 'path=/tmp', body: tar });
    await run.call('containerArchiveGet', { ...at, query: 'path=/tmp/put' });
    await run.call('containerArchiveHead', { ...at, query: 'path=/tmp/put' });
    await run.call('containerArchiveGet', { ...at, query: 'path=/none', status: 404 });
  }
  if (run.is('containerChanges')) await run.call('containerChanges', at);
  if (run.is('containerExport')) await run.call('containerExport', at);
  if (run.is('containerCommit')) {
    await run.call('containerCommit', { query: `container=${id}&repo=made` });
    await run.call('containerCommit', { query: 'container=nothing', status: 404 });
    await run.call('imageRemove', { params: { name: 'made' } });
  }
}

async function endCalls(run: Run, id: string): Promise<void> {
  const at = { params: { id } };
  const none = { params: { id: 'nothing' }, status: 404 };
  await run.call('systemDf');
  await run.call('imageRemove', { params: { name: image }, status: 409 });
  await run.call('containerRemove', { ...at, status: 409 });
  await run.call('containerKill', at);
  await run.call('containerKill', none);
  await run.call('containerWait', at);
  await run.call('containerWait', none);
  await run.call('containerKill', { ...at, status: 409 });
  await run.call('containerStop', { ...at, status: 304 });
  await run.call('containerStop', none);
  await run.call('containerStart', at);
  await run.call('containerStop', { ...at, query: 't=1' });
  await run.call('containerPause', { ...at, status: 409 });
  await run.call('containerInspect', at);
  await run.call('containerList', { query: 'all=1' });
  await run.call('volumeRemove', { params: { name: 'data' }, status: 409 });
  await run.call('containerRemove', { ...at, query: 'v=1' });
  await run.call('containerRemove', none);
  await makeContainer(run, { Cmd: ['true'] }, 'done');
  await run.call('containerPrune');
  await run.call('networkRemove', { params: { id: 'net' } });
  await run.call('networkRemove', { params: { id: 'nothing' }, status: 404 });
  await run.call('networkPrune');
  await run.call('volumeRemove', { params: { name: 'data' } });
}

/** Of Docker's API, what this engine leaves to others or to later. */
const LEFT_OUT = ['PUT /volumes/{name}'];

/** Needs an account or the network beyond this machine. */
const NOT_CALLED: readonly OperationName[] = [
  'systemAuth',
  'imageSearch',
  'imageLoad',
  // Of a client of BuildKit: compat/build.test.ts has one.
  'buildSession',
];

/** Not of Docker's API, so there are no facts to hold them against; their own tests call them. */
const OURS: readonly OperationName[] = [
  'systemCheck',
  'deltaInspect',
  'deltaPlan',
  'deltaPublish',
  'imageDelta',
  'imageVerify',
  'systemWear',
];

for (const version of ['1.41', '1.51']) {
  const swagger = loadSwagger(version);
  const skip = swagger === undefined ? `no facts of API ${version} beside the checkout` : false;
  test(`every answer fits Docker's API v${version}`, { skip }, async () => {
    assert.ok(swagger !== undefined);
    const run = new Run(swagger);
    await systemCalls(run);
    await imageCalls(run);
    await loadCall(run);
    await buildCalls(run);
    await volumeAndNetworkCalls(run);
    await containerCalls(run);
    assert.deepEqual(run.problems, []);
    const served = Object.keys(HANDLERS) as OperationName[];
    const known = new Set([...run.called, ...NOT_CALLED, ...OURS]);
    const forgotten = served.filter((name) => !known.has(name));
    assert.deepEqual(forgotten, [], 'operations that this test does not call');
  });

  test(`every endpoint of Docker's API v${version} is served or left out on purpose`, {
    skip,
  }, () => {
    assert.ok(swagger !== undefined);
    const ours = new Set(
      Object.entries<EndpointSpec>(CONTRACT).map(
        ([, { method, path }]) => `${method} ${path.replace('...}', '}')}`,
      ),
    );
    const missing = operationsOf(swagger).filter((each) => !ours.has(each));
    const known = operationsOf(swagger).filter((each) => LEFT_OUT.includes(each));
    assert.deepEqual(missing.sort(), known.sort());
  });
}

test('ten thousand hostile requests leave the daemon serving', async () => {
  const requests = fc.sample(hostileRequest, { numRuns: 10_000, seed: 1 });
  const lanes = Array.from({ length: 8 }, async (_, lane) => {
    for (let i = lane; i < requests.length; i += 8) {
      const answer = await sendHostile(daemon.socket, requests[i] ?? Buffer.alloc(0), 20_000);
      const status = /^HTTP\/1\.1 (\d{3}) /.exec(answer ?? '')?.[1];
      assert.ok(answer === '' || status !== undefined, `no answer to request ${i}`);
    }
  });
  await Promise.all(lanes);
  const version = await daemon.json('GET', '/version');
  // What is not an expected failure is logged with its stack.
  const defects = daemon
    .log()
    .split('\n')
    .filter((line) => line.includes(' stack='));
  assert.deepEqual(defects, []);
  assert.equal((version as { ApiVersion: string }).ApiVersion, '1.51');
});

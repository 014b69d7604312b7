import assert from 'node:assert/strict';
import { test } from 'node:test';
import { coracle } from '../../support/cli.ts';
import { docker, dockerClis } from '../../support/docker-cli.ts';

/** Each flag of Docker's commands is a flag of ours, with the same letter. */

const CONTAINER = [
  ...[
    'attach',
    'commit',
    'cp',
    'create',
    'diff',
    'exec',
    'export',
    'inspect',
    'kill',
    'logs',
    'ls',
  ],
  ...['pause', 'port', 'prune', 'rename', 'restart', 'rm', 'run', 'start', 'stats', 'stop', 'top'],
  ...['unpause', 'update', 'wait'],
];
const COMMANDS = [
  ...CONTAINER.map((verb) => `container ${verb}`),
  ...['df', 'events', 'info', 'prune'].map((verb) => `system ${verb}`),
  ...['inspect', 'version', 'ps', 'stats', 'events'],
];

/** What our client takes without showing it in its help. */
const TAKEN_UNSEEN = new Set([
  ...['--time', '--kernel-memory'],
  ...['--cpu-count', '--cpu-percent', '--io-maxbandwidth', '--io-maxiops'],
]);
/** Kubernetes, and an experiment of Docker's client that gives a container the engine's socket. */
const NOT_OURS = new Set(['--help', '--kubeconfig', '--use-api-socket']);

/** `--filter` to `-f`, of a command's help. */
function flagsOf(help: string): Map<string, string> {
  const found = help.matchAll(/^ +(?:(-\w), )?(--[a-z][\w-]*)/gm);
  return new Map([...found].map(([, letter = '', name = '']) => [name, letter]));
}

for (const cli of await dockerClis()) {
  test(`every flag of docker ${cli.version} is known`, async () => {
    for (const command of COMMANDS) {
      const words = command.split(' ');
      const theirs = flagsOf((await docker(cli, 'unix:///none', [...words, '--help'])).stdout);
      const ours = flagsOf((await coracle([...words, '--help'])).stdout);
      assert.ok(theirs.size > 0 || /pause|port|rename|diff|top|wait/.test(command), command);
      for (const [name, letter] of theirs) {
        if (NOT_OURS.has(name)) continue;
        if (TAKEN_UNSEEN.has(name)) {
          const { stderr } = await coracle([...words, name, '1', 'web'], { host: 'unix:///none' });
          assert.doesNotMatch(stderr, /unknown flag/, `${command} ${name}`);
        } else assert.equal(ours.get(name), letter, `${command} ${name}`);
      }
    }
  });
}

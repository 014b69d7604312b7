import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { type Box, openBox } from '../support/box.ts';
import { clientCommand } from '../support/daemon.ts';
import { dockerClis } from '../support/docker-cli.ts';
import { temporaryFolder } from '../support/temp.ts';
import { Terminal } from '../support/tmux.ts';

/** `stats` and `events` live on a terminal: our client's, and Docker's before our daemon. */

let box: Box;
const config = temporaryFolder('terminal-config');
before(async () => {
  box = await openBox();
});
after(async () => {
  await box[Symbol.asyncDispose]();
  config[Symbol.dispose]();
});

const clients = [
  { name: 'coracle', path: clientCommand() },
  ...(await dockerClis()).map(({ version, path }) => ({ name: `docker ${version}`, path })),
];

async function terminal(columns = 120, rows = 12): Promise<Terminal> {
  const opened = new Terminal();
  await opened.open(
    { DOCKER_HOST: box.daemon.host, DOCKER_CONFIG: config.path },
    { columns, rows },
  );
  return opened;
}

const HEAD =
  /^CONTAINER ID {3}NAME +CPU % +MEM USAGE \/ LIMIT +MEM % +NET I\/O +BLOCK I\/O +PIDS$/m;
const row = (name: string): RegExp =>
  new RegExp(
    `^[0-9a-f]{12} +${name} +\\d+\\.\\d\\d% +[\\d.]+[KMG]iB / [\\d.]+[KMG]iB +\\d+\\.\\d\\d% +[\\d.]+k?B / [\\d.]+k?B +[\\d.]+[kM]?B / [\\d.]+[kM]?B +1$`,
    'm',
  );

for (const { name, path } of clients) {
  const isOurs = name === 'coracle';
  suite(name, () => {
    test('stats is drawn in place, with who comes and without who goes', async () => {
      const id = await box.up(
        { Cmd: ['sleep', '100'], HostConfig: { NetworkMode: 'bridge' } },
        'first',
      );
      await using screen = await terminal();
      await screen.type(`${path} stats`);
      await screen.shows(row('first'));
      const later = await box.up({ Cmd: ['sleep', '100'] }, 'second');
      const both = await screen.shows(row('second'));
      assert.match(both, HEAD);
      assert.equal(both.match(/^CONTAINER ID/gm)?.length, 1, both);
      assert.match(both, row('first'));
      await box.remove(id);
      // Docker 20.10 leaves a row of dashes.
      if (!name.includes('20.10')) {
        const one = await screen.shows(/^CONTAINER.*\n[0-9a-f]{12} +second [^\n]*\s*$/);
        assert.doesNotMatch(one, /first/);
      }
      await screen.press('C-c');
      await screen.shows(/ready>$/);
      await screen.type('echo; echo code $?-');
      await screen.shows(/^code \d+-$/m);
      await box.remove(later);
    });

    test('events come as they happen, until somebody interrupts', async () => {
      await using screen = await terminal(200);
      await screen.type(`${path} events --filter type=container --filter event=die`);
      const id = await box.create({ Cmd: ['sh', '-c', 'exit 3'] }, 'told');
      // Nothing on the screen says when it listens: it is told again until it hears.
      const heard = screen.shows(/container die /);
      let over = false;
      const telling = (async () => {
        while (!over) {
          await box.daemon.api('POST', `/containers/${id}/start`);
          await box.wait(id);
          await new Promise((resolve) => setTimeout(resolve, 200));
        }
      })();
      const shown = await heard.finally(() => {
        over = true;
      });
      await telling;
      assert.match(
        shown,
        /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}\S+ container die [0-9a-f]{64} \(execDuration=0, exitCode=3, image=\S+,? name=told\)$/m,
      );
      await screen.press('C-c');
      await screen.shows(/ready>$/);
      await box.remove(id);
    });

    test('stats of one that is not there ends with a sentence', async () => {
      const id = await box.up({ Cmd: ['sleep', '100'] }, 'there');
      await using screen = await terminal();
      await screen.type(`${path} stats there nowhere; echo "code $?-"`);
      const shown = await screen.shows(/^code 1-$/m);
      assert.match(shown, /^Error response from daemon: No such container: nowhere$/m);
      assert.doesNotMatch(shown, /CONTAINER ID/);
      await box.remove(id);
    });

    test('stats of one that goes shows dashes until it is interrupted', async () => {
      const id = await box.up({ Cmd: ['sleep', '100'] }, 'going');
      await using screen = await terminal();
      await screen.type(`${path} stats going`);
      await screen.shows(/going +[\d.]+%/);
      await box.remove(id);
      await screen.shows(/going +-- +-- \/ -- +-- +-- +-- +--/);
      await screen.press('C-c');
    });

    test('run -it follows the window, is left by its keys, and attached to again', async () => {
      await using screen = await terminal();
      await screen.type(`clear; ${path} run -it --name shell ${box.image} sh -c 'PS1="in# " sh'`);
      await screen.shows(/in#$/);
      await screen.resize(77, 20);
      // The size follows the window: it is asked for until it is there.
      const size = "while ! stty size | grep '^20 77$'; do sleep 0.1; done";
      await screen.type(size);
      await screen.shows(/^20 77$/m);
      await screen.press('C-p');
      await screen.press('C-q');
      await screen.shows(/ready>$/);
      assert.equal((await box.inspect('shell')).State.Running, true);
      await screen.type(`${path} attach shell`);
      await screen.type('echo in again; exit 5');
      await screen.shows(/^in again$/m);
      await screen.shows(/ready>$/);
      await screen.type('echo code $?-');
      await screen.shows(/^code 5-$/m);
      await box.remove('shell');
    });

    // Docker's wraps.
    if (isOurs) {
      test('a small screen shows what fits', async () => {
        const ids = await Promise.all(
          ['a1', 'a2', 'a3', 'a4', 'a5'].map((each) => box.up({ Cmd: ['sleep', '100'] }, each)),
        );
        await using screen = await terminal(60, 4);
        await screen.type(`${path} stats`);
        const shown = await screen.shows(/^[0-9a-f]{12} +a\d +0/m);
        const lines = shown.trimEnd().split('\n');
        assert.ok(lines.length <= 4 && lines[0]?.startsWith('CONTAINER ID'), shown);
        await screen.resize(120, 12);
        await screen.shows(/PIDS\n(?:[0-9a-f]{12} .*\n){4}[0-9a-f]{12} /);
        await screen.press('C-c');
        for (const id of ids) await box.remove(id);
      });
    }
  });
}

test('a start that fails is told of once', async () => {
  await using screen = await terminal();
  const command = `${clientCommand()} run --network nowhere ${box.image} true`;
  await screen.type(`clear; ${command}; echo "code $?-"`);
  const shown = await screen.shows(/^code 125-$/m);
  assert.equal(shown.match(/network nowhere not found/g)?.length, 1, shown);
});

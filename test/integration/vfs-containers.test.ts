import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Box, openBox } from '../support/box.ts';

/** What a container has changed is the same with vfs, which compares trees, as with overlay2, which keeps it. */

const boxes: Record<string, Box> = {};
before(async () => {
  for (const driver of ['overlay2', 'vfs']) {
    boxes[driver] = await openBox({ flags: ['--storage-driver', driver] });
  }
});
after(async () => {
  for (const box of Object.values(boxes)) await box[Symbol.asyncDispose]();
});

type Change = { readonly Path: string; readonly Kind: number };

async function changesOf(box: Box, id: string): Promise<string[]> {
  const changes = (await box.daemon.json('GET', `/containers/${id}/changes`)) as Change[] | null;
  return (changes ?? []).map(({ Path, Kind }) => `${'CAD'[Kind]} ${Path}`).toSorted();
}

const LOOK =
  'find / -xdev | grep -vE "^/(proc|sys|dev|\\.dockerenv)" | sort | while read f; do ' +
  'stat -c "%n %A %u:%g" "$f"; if [ -h "$f" ]; then readlink "$f"; fi; ' +
  'if [ -f "$f" ]; then case $f in /etc/host*|/etc/resolv.conf);; *) md5sum <"$f";; esac; fi; done';

test('changes and commit tell the same of a copy as of an overlay', async () => {
  const first = [
    'rm /etc/motd; echo more >>/etc/group; chmod 700 /home/user; mv /var/log /var/moved',
    'mkdir -p /new/deep; echo a >/new/a; ln -s a /new/link; ln /new/a /new/hard; mkdir /empty',
    'rm /bin/true; mkdir /bin/true; echo in >/bin/true/in; chown 1000 /root; mknod /new/pipe p',
  ].join('; ');
  const second = [
    'echo again >/etc/motd; rm -r /new; mkdir /new; echo b >/new/b; rm -r /bin/true',
    'rm -r /empty; ln -s / /empty; rm -r /usr; mkdir /usr; echo c >/usr/c',
  ].join('; ');
  const seen: Record<string, unknown> = {};
  for (const [driver, box] of Object.entries(boxes)) {
    const untouched = await box.up({ Cmd: ['sleep', '100'] });
    assert.deepEqual(await changesOf(box, untouched), [], driver);
    await box.remove(untouched);

    let Image = box.image;
    const told: unknown[] = [];
    for (const [i, script] of [first, second].entries()) {
      const id = await box.up({ Image, Cmd: ['sh', '-c', script] });
      assert.equal(await box.wait(id), 0, await box.logs(id, 'stderr'));
      if (i === 0) told.push(await changesOf(box, id));
      const made = await box.daemon.json('POST', `/commit?container=${id}&repo=made&tag=v${i}`);
      Image = (made as { Id: string }).Id;
      await box.remove(id);
      told.push((await box.sh(LOOK, { Image })).split('\n'));
    }
    seen[driver] = told;
  }
  const [changes] = seen['overlay2'] as [string[]];
  assert.ok(changes.includes('D /etc/motd') && changes.includes('A /new/deep'), changes.join('\n'));
  assert.deepEqual(seen['vfs'], seen['overlay2']);
});

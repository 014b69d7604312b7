import assert from 'node:assert/strict';
import { test } from 'node:test';
import { releaseField } from './host-info.ts';
import { registryInfo } from './registry-info.ts';
import { parseRuntimeVersion } from './runtime-version.ts';

test('versions are read off what runtimes print', () => {
  assert.deepEqual(parseRuntimeVersion('crun version 1.8.1\ncommit: f8a096be\nrundir: /run\n'), {
    version: '1.8.1',
    commit: 'f8a096be',
  });
  assert.deepEqual(parseRuntimeVersion('runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1\nspec: 1\n'), {
    version: '1.1.5+ds1',
    commit: '1.1.5+ds1-1',
  });
  assert.deepEqual(parseRuntimeVersion(''), { version: '', commit: '' });
});

test('os-release fields are unquoted as its manual says', () => {
  const text = `NAME=Fedora\nPRETTY_NAME="Say \\"hi\\" Linux"\nVERSION_ID='12'\n`;
  assert.equal(releaseField(text, 'PRETTY_NAME'), 'Say "hi" Linux');
  assert.equal(releaseField(text, 'NAME'), 'Fedora');
  assert.equal(releaseField(text, 'VERSION_ID'), '12');
  assert.equal(releaseField(text, 'NOTHING'), '');
});

test('registries are shown as configured', () => {
  const config = {
    insecureRegistries: ['10.1.0.0/16', 'reg.local:5000'],
    registryMirrors: ['https://mirror.local'],
  };
  const call = { signal: new AbortController().signal, apiVersion: [1, 51] as const };
  assert.deepEqual(registryInfo(config, call).RegistryConfig, {
    InsecureRegistryCIDRs: ['::1/128', '127.0.0.0/8', '10.1.0.0/16'],
    IndexConfigs: {
      'docker.io': {
        Name: 'docker.io',
        Mirrors: ['https://mirror.local/'],
        Secure: true,
        Official: true,
      },
      'reg.local:5000': { Name: 'reg.local:5000', Mirrors: [], Secure: false, Official: false },
    },
    Mirrors: ['https://mirror.local/'],
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isEngineError } from '../base/errors.ts';
import { checkManifest, chooseManifest, wantedLayers } from '../policy/pull-plan.ts';
import { decodeJson } from '../spec/decode.ts';
import { imageConfig, MEDIA_TYPE } from '../spec/oci/image.ts';
import { decodeManifest } from './manifests.ts';

const decode = (value: unknown, type?: string) =>
  decodeManifest(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)), type);

const IMAGE = { schemaVersion: 2, config: { digest: 'x', size: 1 }, layers: [] };

test('the document tells its kind, else the server, else its fields', () => {
  const oci = { ...IMAGE, mediaType: MEDIA_TYPE.ociManifest };
  assert.equal(decode(oci, MEDIA_TYPE.dockerManifest).mediaType, MEDIA_TYPE.ociManifest);
  assert.equal(
    decode(IMAGE, `${MEDIA_TYPE.dockerManifest}; charset=utf-8`).mediaType,
    MEDIA_TYPE.dockerManifest,
  );
  assert.equal(decode(IMAGE, 'application/octet-stream').mediaType, MEDIA_TYPE.ociManifest);
  assert.equal(decode({ schemaVersion: 2, manifests: [] }).content.kind, 'index');
});

test('a document that could be read as two kinds is refused', () => {
  const both = { ...IMAGE, manifests: [] };
  assert.throws(() => decode({ ...both, mediaType: MEDIA_TYPE.ociManifest }), /both an image and/);
  assert.throws(() => decode({ ...both, mediaType: MEDIA_TYPE.ociIndex }), /both an image and/);
});

test('no manifest, index or config makes planning throw anything but its own errors', () => {
  const text = fc.oneof(
    fc.string({ maxLength: 10 }),
    fc.constantFrom(...Object.values(MEDIA_TYPE), `sha256:${'a'.repeat(64)}`, 'linux', 'amd64'),
  );
  const descriptor = fc.record(
    {
      mediaType: text,
      digest: text,
      size: fc.oneof(fc.integer(), fc.double(), text),
      platform: fc.option(fc.record({ os: text, architecture: text, variant: text })),
    },
    { requiredKeys: [] },
  );
  const document = fc.record(
    {
      schemaVersion: fc.constantFrom(0, 1, 2, '2'),
      mediaType: text,
      config: fc.oneof(descriptor, fc.jsonValue()),
      layers: fc.oneof(fc.array(descriptor, { maxLength: 4 }), fc.jsonValue()),
      manifests: fc.oneof(fc.array(descriptor, { maxLength: 4 }), fc.jsonValue()),
    },
    { requiredKeys: [] },
  );
  const config = fc.record({
    rootfs: fc.record({ type: text, diff_ids: fc.array(text, { maxLength: 4 }) }),
  });
  fc.assert(
    fc.property(fc.oneof(document, fc.jsonValue()), config, text, (value, about, type) => {
      try {
        const { content } = decode(value, type);
        if (content.kind === 'index') {
          chooseManifest(content.index, { os: 'linux', architecture: 'amd64', variant: '' });
        } else {
          checkManifest(content.manifest);
          wantedLayers(content.manifest, decodeJson(imageConfig, JSON.stringify(about)));
        }
      } catch (error) {
        assert(isEngineError(error), String(error));
      }
    }),
    { numRuns: 3000 },
  );
});

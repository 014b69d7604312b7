import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { notFound } from '../base/errors.ts';
import { DELTA_BASE } from '../formats/delta/artifact.ts';
import { DELTA_ARTIFACT_TYPE, decodeEnvelope } from '../formats/delta/envelope.ts';
import { DELTA_REPORT_TYPE, decodeReport } from '../formats/delta/report.ts';
import { blobPath } from '../formats/image-archive.ts';
import { decodeJson } from '../spec/decode.ts';
import type { InspectedDelta } from '../spec/delta-inspect.ts';
import { index, manifest } from '../spec/oci/image.ts';

/** The deltas in an OCI layout. @throws notFound when there are none; what is wrong with the layout */
export async function deltasInLayout(folder: string): Promise<InspectedDelta[]> {
  const read = async (name: string): Promise<Buffer> => await readFile(path.join(folder, name));
  const { manifests } = decodeJson(index, (await read('index.json')).toString('utf8'));
  const deltas: InspectedDelta[] = [];
  for (const { digest, artifactType, annotations } of manifests) {
    if (artifactType !== DELTA_ARTIFACT_TYPE || annotations?.[DELTA_BASE] === undefined) continue;
    const text = (await read(blobPath(digest))).toString('utf8');
    const { config, layers } = decodeJson(manifest, text);
    const report = layers.find(({ mediaType }) => mediaType === DELTA_REPORT_TYPE);
    if (report === undefined) continue;
    const envelope = decodeEnvelope((await read(blobPath(config.digest))).toString('utf8'));
    const { base, target } = envelope;
    const Report = decodeReport(await read(blobPath(report.digest)));
    deltas.push({ Digest: digest, Base: base.id, Target: target.id, Report });
  }
  if (deltas.length === 0) throw notFound(`there is no delta in ${folder}`);
  return deltas;
}

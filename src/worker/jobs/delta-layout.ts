import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { humanSize } from '../../base/bytes.ts';
import { deltaBytes } from '../../formats/delta/artifact.ts';
import type { DeltaLayoutInput } from '../../spec/delta-layout.ts';
import { assembleDelta } from '../deltas/assemble.ts';
import { makeDeltas } from '../deltas/delta-maker.ts';
import { LayoutWriter, openLayoutImage } from '../deltas/oci-layout.ts';
import type { JobContext } from '../job.ts';
import { LayerProgress } from '../layer-progress.ts';

/**
 * The job `delta-layout`: deltas between images in OCI layouts, written into one as artifacts that
 * refer to the target. It needs neither root nor a daemon; layers are unpacked beside the output
 * while it runs.
 */
export async function deltaLayout(input: unknown, context: JobContext): Promise<null> {
  const job = input as DeltaLayoutInput;
  mkdirSync(job.output, { recursive: true });
  const work = mkdtempSync(path.join(job.output, '.delta-'));
  try {
    await make(job, work, context);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return null;
}

async function make(job: DeltaLayoutInput, work: string, context: JobContext): Promise<void> {
  using stack = new DisposableStack();
  const folder = (name: string): string => {
    const made = path.join(work, name);
    mkdirSync(made);
    return made;
  };
  const target = await openLayoutImage(job.target, folder('target'), stack);
  const bases = [];
  for (const [i, base] of job.bases.entries()) {
    bases.push(await openLayoutImage(base, folder(`base-${i}`), stack));
  }
  const line = new LayerProgress('delta', context.report);
  line.say('Comparing');
  const made = await makeDeltas({
    target,
    bases,
    folder: folder('parts'),
    signal: context.signal,
    onProgress: (bytes, total) => line.bytes('Comparing', bytes, total),
  });
  const layout = new LayoutWriter(job.output);
  const descriptors = [];
  for (const [i, delta] of made.entries()) {
    const { envelope, parts, report, artifact } = assembleDelta(delta, target, target.subject);
    for (const { digest, file } of parts) layout.add(digest, readFileSync(file));
    layout.add(report.digest, report.bytes);
    layout.add(artifact.envelopeDigest, artifact.envelope);
    layout.add(artifact.descriptor.digest, artifact.manifest);
    descriptors.push(artifact.descriptor);
    const size = humanSize(deltaBytes(envelope), 3);
    const base = job.bases[i];
    const name =
      base === undefined ? '' : path.basename(base.folder) + (base.name && `:${base.name}`);
    context.report({ status: `Delta from ${name}: ${size}, ${artifact.descriptor.digest}` });
  }
  layout.list(descriptors);
}

import path from 'node:path';
import { invalidArgument, messageOf, toEngineError } from '../../base/errors.ts';
import { openSyscalls } from '../../kernel/ffi.ts';
import { makeDirectoryInRoot } from '../../kernel/rootfs-file.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import { OpenDirectory } from '../../kernel/tree-walk.ts';
import type {
  BuildCommand,
  BuildContextResult,
  BuildInput,
  BuildLayerResult,
  BuildQuestion,
  BuildSource,
} from '../build-protocol.ts';
import { BuildContext } from '../builds/context.ts';
import { copySources } from '../builds/copy.ts';
import { downloadSource, findSources, isUrl } from '../builds/sources.ts';
import type { JobContext } from '../job.ts';
import { layerOfDiff } from '../tree-layer.ts';
import { enterOwnMounts } from '../tree-view.ts';
import { download } from '../url-download.ts';

/**
 * The job `build`: all that is heavy of one build, in one process. It does what it is told until
 * it is ended.
 */
export async function build(input: unknown, context: JobContext): Promise<never> {
  const builder = new Builder(input as BuildInput, context);
  let result: unknown = await builder.takeContext();
  for (;;) {
    const question: BuildQuestion = { result };
    const command = (await context.ask(question)) as BuildCommand;
    result = await builder.carryOut(command);
  }
}

class Builder {
  readonly #input: BuildInput;
  readonly #job: JobContext;
  readonly #sys: Syscalls = openSyscalls();
  readonly #context: BuildContext;
  #downloads = 0;

  constructor(input: BuildInput, job: JobContext) {
    this.#input = input;
    this.#job = job;
    process.umask(0);
    enterOwnMounts(this.#sys);
    this.#context = new BuildContext(this.#sys, path.join(input.staging, 'context'));
  }

  async takeContext(): Promise<BuildContextResult> {
    const { dockerfile, remote } = this.#input;
    const { signal, stdinPieces } = this.#job;
    if (remote === '') await this.#context.unpack(stdinPieces(), signal);
    else await this.#context.takeRemote(await download(remote, signal), signal);
    return { text: this.#context.takeDockerfile(dockerfile) };
  }

  async carryOut(command: BuildCommand): Promise<unknown> {
    switch (command.do) {
      case 'sources':
        return await this.#sources(command);
      case 'copy': {
        using from = this.#open(command.from);
        await copySources(this.#sys, command, { from, signal: this.#job.signal });
        return await this.#layer(command);
      }
      case 'folder':
        this.#makeFolder(command.of.merged, command.path);
        return await this.#layer(command);
      case 'layer':
        return await this.#layer(command);
    }
  }

  /** The root of a mounted image, or of the context. */
  #open(tree: string): OpenDirectory {
    return OpenDirectory.open(this.#sys, tree === '' ? this.#context.folder : tree);
  }

  async #sources(command: Extract<BuildCommand, { do: 'sources' }>): Promise<BuildSource[]> {
    using root = this.#open(command.from);
    const context = command.from === '' ? this.#context : undefined;
    const found: BuildSource[] = [];
    for (const each of command.paths) {
      if (command.mayDownload && isUrl(each)) {
        this.#downloads += 1;
        const { staging } = this.#input;
        const options = { staging, number: this.#downloads, signal: this.#job.signal };
        found.push(await downloadSource(each, options));
      } else found.push(...findSources({ sys: this.#sys, root, context }, each));
    }
    return found;
  }

  #makeFolder(merged: string, folder: string): void {
    try {
      makeDirectoryInRoot(this.#sys, merged, folder, { uid: 0, gid: 0 });
    } catch (cause) {
      const { kind } = toEngineError(cause);
      if (kind !== 'internal') throw cause;
      throw invalidArgument(`cannot make the folder ${folder}: ${messageOf(cause)}`, { cause });
    }
  }

  async #layer({
    of,
    name,
  }: {
    of: Extract<BuildCommand, { do: 'layer' }>['of'];
    name: string;
  }): Promise<BuildLayerResult> {
    const directory = path.join(this.#input.staging, name);
    const { signal } = this.#job;
    return { layer: await layerOfDiff(this.#sys, of, { directory, signal }) };
  }
}

import path from 'node:path';
import { invalidArgument } from '../../base/errors.ts';
import { type Instruction, inLine, parseInstruction } from '../../formats/dockerfile.ts';
import { argumentsOf, checkInstruction } from '../../policy/build/stages.ts';
import { changeConfig, jsonList, shellOf } from '../../policy/image-changes.ts';
import { expandWord, type Variables, variablesOf } from '../../policy/word-expansion.ts';
import type { ContainerConfig } from '../../spec/docker/container.ts';
import { useCache } from './cache.ts';
import { commitStep } from './commit-step.ts';
import { copyStep } from './copy-step.ts';
import { runStep } from './run-step.ts';
import { type BuildSession, type BuildStage, say } from './session.ts';
import { withTree } from './trees.ts';

/** Carries out one instruction of a stage. @throws with the step's own words */
export async function carryOut(
  session: BuildSession,
  stage: BuildStage,
  instruction: Instruction,
): Promise<void> {
  const { keyword, rest } = instruction;
  const variables = variablesIn(stage);
  const expand = (word: string): string =>
    inLine(instruction.line, () => expandWord(word, variables, session.escapeWith));
  switch (keyword) {
    case 'RUN':
      await runStep(session, stage, instruction);
      return;
    case 'COPY':
    case 'ADD':
      await copyStep(session, stage, instruction, variables);
      return;
    case 'WORKDIR':
      await folderStep(session, stage, expand(rest));
      return;
    case 'ARG':
      await argStep(session, stage, instruction, variables);
      return;
    case 'MAINTAINER':
      stage.author = expand(rest);
      await noteStep(session, stage, `MAINTAINER ${stage.author}`);
      return;
    case 'SHELL': {
      const Shell = jsonList(rest) ?? [];
      stage.config = { ...stage.config, Shell };
      await noteStep(session, stage, `SHELL [${Shell.join(' ')}]`);
      return;
    }
    case 'CMD':
    case 'ENTRYPOINT':
    case 'ENV':
    case 'EXPOSE':
    case 'FROM':
    case 'HEALTHCHECK':
    case 'LABEL':
    case 'ONBUILD':
    case 'STOPSIGNAL':
    case 'USER':
    case 'VOLUME':
      await configStep(session, stage, instruction, variables);
  }
}

/** The environment, and below it the build's arguments. */
function variablesIn({ config, args }: BuildStage): Variables {
  const env = variablesOf(config.Env);
  return new Map([...args.visible(env), ...env]);
}

async function configStep(
  session: BuildSession,
  stage: BuildStage,
  instruction: Instruction,
  variables: Variables,
): Promise<void> {
  const { escapeWith } = session;
  const how = { variables, escapeWith, hasCommand: stage.hasCommand };
  const changed = inLine(instruction.line, () => changeConfig(stage.config, instruction, how));
  if (changed === undefined) {
    throw invalidArgument(`${instruction.keyword} is not allowed here`);
  }
  stage.config = changed.config;
  stage.hasCommand = changed.hasCommand;
  await noteStep(session, stage, changed.comment);
}

/** A step that changes the config alone. */
async function noteStep(session: BuildSession, stage: BuildStage, comment: string): Promise<void> {
  const made = withCommand(stage.config, '#(nop) ', comment);
  if (await useCache(session, stage, made)) return;
  await commitStep(session, stage, { made });
}

function withCommand(config: ContainerConfig, ...words: string[]): ContainerConfig {
  return { ...config, Cmd: [...shellOf(config), ...words] };
}

async function argStep(
  session: BuildSession,
  stage: BuildStage,
  { line, rest }: Instruction,
  variables: Variables,
): Promise<void> {
  const how = { variables, escapeWith: session.escapeWith };
  const declared = inLine(line, () => argumentsOf(rest, how));
  for (const { name, value } of declared) stage.args.declare(name, value);
  const shown = declared.map(({ name, value }) =>
    value === undefined ? name : `${name}=${value}`,
  );
  await noteStep(session, stage, `ARG ${shown.join(' ')}`);
}

/** WORKDIR: the folder is made now, so that it is there for COPY too. */
async function folderStep(session: BuildSession, stage: BuildStage, folder: string): Promise<void> {
  if (folder === '') throw invalidArgument('cannot normalize nothing');
  const WorkingDir = path.posix.resolve('/', stage.config.WorkingDir, folder);
  stage.config = { ...stage.config, WorkingDir };
  const made = withCommand(stage.config, `#(nop) WORKDIR ${WorkingDir}`);
  if (await useCache(session, stage, made)) return;
  const layer = await withTree(session.engine, stage.image?.diffIds ?? [], (of) =>
    session.worker.folder({ of, path: WorkingDir }),
  );
  await commitStep(session, stage, { made, layer });
}

/** What ONBUILD of the base image left to do. */
export async function carryOutTriggers(
  session: BuildSession,
  stage: BuildStage,
  triggers: readonly string[],
): Promise<void> {
  const instructions = triggers.map((text) => {
    const instruction = parseInstruction(text, { line: 0, escapeWith: '\\' });
    if (['FROM', 'ONBUILD', 'MAINTAINER'].includes(instruction.keyword)) {
      throw invalidArgument(`${instruction.keyword} isn't allowed as an ONBUILD trigger`);
    }
    checkInstruction(instruction);
    return instruction;
  });
  const s = triggers.length === 1 ? '' : 's';
  say(session, `# Executing ${triggers.length} build trigger${s}\n`);
  for (const instruction of instructions) await carryOut(session, stage, instruction);
}

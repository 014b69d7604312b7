/**
 * What a runtime says when it cannot start a process, in the words that Docker's clients match on:
 * the docker CLI exits with 127 and 126 by them. crun and runc word the same failures differently.
 */
export type StartFailure = {
  /** Without the part that says what was tried. */
  readonly message: string;
  /** What the container's exit code becomes. */
  readonly exitCode: 126 | 127 | 128;
  /** What was asked for cannot be had, so asking again is no use; else something is broken. */
  readonly isRefusal: boolean;
};

/** How crun and runc end a sentence about a value that they, or the kernel, do not take. */
const REFUSED_VALUE =
  /is not (?:namespaced|allowed)|load `config\.json`|setrlimit `|error setting rlimit|: (?:invalid argument|numerical result out of range|(?:file name|argument list) too long)$/i;

/** @param command the executable that was to run */
export function explainStartFailure(runtimeMessage: string, command: string): StartFailure {
  const { message, exitCode } = explain(runtimeMessage, command);
  return { message, exitCode, isRefusal: exitCode !== 128 || REFUSED_VALUE.test(message) };
}

function explain(runtimeMessage: string, command: string): Omit<StartFailure, 'isRefusal'> {
  const text = runtimeMessage.trim();
  const exec = `exec: "${command}"`;
  const hasSlash = command.includes('/');
  if (isMissing(text, command)) {
    return hasSlash
      ? {
          message: `unable to start container process: ${exec}: stat ${command}: no such file or directory`,
          exitCode: 127,
        }
      : {
          message: `unable to start container process: ${exec}: executable file not found in $PATH`,
          exitCode: 127,
        };
  }
  if (/is a directory/i.test(text) && !/mount/i.test(text)) {
    return {
      message: `unable to start container process: ${exec}: is a directory: permission denied`,
      exitCode: 126,
    };
  }
  if (isForbidden(text, command)) {
    return {
      message: `unable to start container process: ${exec}: permission denied`,
      exitCode: 126,
    };
  }
  if (/exec format error/i.test(text)) {
    return {
      message: `unable to start container process: ${exec}: exec format error`,
      exitCode: 126,
    };
  }
  const exitCode = /no such file or directory|executable file not found/i.test(text)
    ? 127
    : /permission denied/i.test(text)
      ? 126
      : 128;
  return { message: text, exitCode };
}

function isMissing(text: string, command: string): boolean {
  return (
    /executable file [`'"].*[`'"] not found/i.test(text) ||
    /executable file not found/i.test(text) ||
    text.includes(`exec: "${command}": stat`) ||
    new RegExp(
      `(?:exec|open|stat|cannot find) [\`'"]?${escapeRegExp(command)}[\`'"]?:.*no such file`,
      'i',
    ).test(text)
  );
}

function isForbidden(text: string, command: string): boolean {
  return (
    text.includes(`exec: "${command}": permission denied`) ||
    // crun: not executable, and a directory.
    /open executable: (?:permission denied|operation not permitted)/i.test(text) ||
    new RegExp(
      `(?:exec|open) [\`'"]?${escapeRegExp(command)}[\`'"]?:.*permission denied`,
      'i',
    ).test(text)
  );
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

/** A command line as a shell would split it; quotes keep words together. */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  for (const m of line.matchAll(/(?:\\"|[^\s"']|"(?:\\"|[^"])*"|'[^']*')+/g)) {
    const [word] = m;
    const whole = /^(["'])(.*)\1$/s.exec(word);
    words.push(whole === null ? word : (whole[2] ?? ''));
  }
  return words;
}

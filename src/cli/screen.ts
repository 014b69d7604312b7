import { type CliOutput, writeAll } from './context.ts';

/**
 * Draws text over what was drawn before: from the top, each line cleared behind its text, and all
 * below cleared. Elsewhere than on a terminal the text is just written.
 */
export async function drawScreen(output: CliOutput, text: string): Promise<void> {
  if (output.isTTY !== true) {
    await writeAll(output, text);
    return;
  }
  const columns = output.columns ?? 80;
  const rows = (output.rows ?? 24) - 1;
  const lines = text.split('\n').slice(0, rows);
  // A line that wraps would push the rest down: it is cut.
  const drawn = lines.map((line) => `${line.slice(0, columns)}\x1b[K`).join('\n');
  await writeAll(output, `\x1b[H${drawn}\x1b[J`);
}

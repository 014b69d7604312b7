/**
 * Aligns text at its tabs, as Go's `text/tabwriter` does for Docker's tables: a cell ends at a tab;
 * a column is a run of lines that have a cell there, and as wide as the widest of them. What
 * follows a line's last tab belongs to no column.
 */
export type TabOptions = {
  /** Least width of a column, padding included. */
  readonly minWidth: number;
  /** Spaces beside the widest cell. */
  readonly padding: number;
};

/** Docker's tables. */
export const TABLE: TabOptions = { minWidth: 10, padding: 3 };

/** @param text lines with `\t` between cells and `\n` at their ends */
export function alignTabs(text: string, options: TabOptions = TABLE): string {
  const lines = text.split('\n').map((line) => line.split('\t'));
  const widths: number[][] = lines.map((cells) => new Array<number>(cells.length).fill(0));
  measure(lines, widths, 0, lines.length, 0, options);
  return lines
    .map((cells, row) =>
      cells
        .map((cell, column) =>
          column === cells.length - 1
            ? cell
            : cell + ' '.repeat(Math.max(0, (widths[row]?.[column] ?? 0) - columnsIn(cell))),
        )
        .join(''),
    )
    .join('\n');
}

/** Characters, as Go counts them. */
function columnsIn(cell: string): number {
  return Array.from(cell).length;
}

/** Widths of the column `column` and of those behind it, in the lines from `from` up to `to`. */
function measure(
  lines: readonly (readonly string[])[],
  widths: readonly number[][],
  from: number,
  to: number,
  column: number,
  options: TabOptions,
): void {
  let start = from;
  while (start < to) {
    if ((lines[start]?.length ?? 0) - 1 <= column) {
      start += 1;
      continue;
    }
    let end = start;
    let width = options.minWidth;
    let empty = true;
    while (end < to && (lines[end]?.length ?? 0) - 1 > column) {
      const cell = lines[end]?.[column] ?? '';
      width = Math.max(width, columnsIn(cell) + options.padding);
      empty &&= cell === '';
      end += 1;
    }
    for (let row = start; row < end; row += 1) {
      const ofRow = widths[row];
      if (ofRow !== undefined) ofRow[column] = empty ? Math.min(width, options.minWidth) : width;
    }
    measure(lines, widths, start, end, column + 1, options);
    start = end;
  }
}

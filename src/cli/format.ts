import { invalidArgument, messageOf } from '../base/errors.ts';
import { type CompiledTemplate, compileTemplate } from '../formats/gotemplate.ts';
import {
  STRUCT,
  TEMPLATE_FUNCTIONS,
  type TemplateFunction,
} from '../formats/gotemplate-functions.ts';
import type { Session } from './session.ts';
import { alignTabs } from './tabwriter.ts';

/**
 * Lists of things as `--format` shapes them: a table, `table TEMPLATE`, `json`, or a template for
 * each row. A list says which fields its rows have, under Docker's names and headers.
 */
export type RowShape<R> = {
  /** The Go type that errors name. */
  readonly typeName: string;
  readonly fields: Readonly<Record<string, RowField<R>>>;
  /** Methods with arguments, that `json` leaves out: `{{.Label "x"}}`. */
  readonly methods?: Readonly<Record<string, (row: R) => TemplateFunction>>;
};

export type RowField<R> = {
  /** Above its column; '' for what has no column of its own. */
  readonly header: string;
  readonly value: (row: R) => unknown;
};

/** The formats that `--format` knows by a word. */
export type NamedFormats = {
  /** Template of the default table, without `table`. */
  readonly table: string;
  /** Of `raw`. */
  readonly raw?: string;
};

type Compiled = {
  readonly template: CompiledTemplate;
  readonly table: boolean;
  readonly source: string;
};

/** What is behind a `--format`: '' and `table` are the default table. */
function templateSource(format: string, named: NamedFormats): { source: string; table: boolean } {
  if (format === '' || format === 'table') return { source: named.table, table: true };
  if (format === 'json') return { source: '{{json .}}', table: false };
  if (format === 'raw' && named.raw !== undefined) return { source: named.raw, table: false };
  if (/^table\s/.test(format)) {
    return { source: format.slice('table'.length).trim(), table: true };
  }
  return { source: format.trim(), table: false };
}

/** Compiles a `--format`. @throws invalidArgument */
function compileFormat(format: string, named: NamedFormats): Compiled {
  const { source, table } = templateSource(format, named);
  const unescaped = source.replaceAll('\\t', '\t').replaceAll('\\n', '\n');
  try {
    return { template: compileTemplate(unescaped), table, source: unescaped };
  } catch (cause) {
    throw invalidArgument(`failed to parse template: ${messageOf(cause)}`, { cause });
  }
}

/** A row as templates see it: its fields are worked out when they are asked for. */
function contextOf<R>(shape: RowShape<R>, row: R): object {
  const context = { [STRUCT]: shape.typeName };
  for (const name of Object.keys(shape.fields).toSorted()) {
    const field = shape.fields[name];
    Object.defineProperty(context, name, { enumerable: true, get: () => field?.value(row) });
  }
  for (const [name, method] of Object.entries(shape.methods ?? {})) {
    Object.defineProperty(context, name, { enumerable: false, value: method(row) });
  }
  return context;
}

/** In a table's header every function leaves the name of the column as it is. */
const HEADER_FUNCTIONS: ReadonlyMap<string, TemplateFunction> = new Map<string, TemplateFunction>([
  ...TEMPLATE_FUNCTIONS,
  ...['json', 'split', 'join', 'title', 'lower', 'upper', 'pad', 'truncate', 'println'].map(
    (name): [string, TemplateFunction] => [name, (first) => first],
  ),
]);

function labelHeader(name: unknown): string {
  return String(name).split('.').at(-1)?.replaceAll('-', ' ').replaceAll('_', ' ') ?? '';
}

function headerOf<R>(shape: RowShape<R>, source: string): string {
  const names: Record<string, unknown> = { Label: labelHeader };
  for (const [name, field] of Object.entries(shape.fields)) {
    if (field.header !== '') names[name] = field.header;
  }
  return compileTemplate(source, { functions: HEADER_FUNCTIONS }).execute(names);
}

/** The rows as text, each line ended. @throws invalidArgument for a template that does not fit */
export function formatRows<R>(
  rows: readonly R[],
  format: string,
  shape: RowShape<R>,
  named: NamedFormats,
): string {
  const { template, table, source } = compileFormat(format, named);
  const lines = rows.map((row) => {
    try {
      return template.execute(contextOf(shape, row));
    } catch (cause) {
      throw invalidArgument(`failed to execute template: ${messageOf(cause)}`, { cause });
    }
  });
  if (!table) return lines.map((line) => `${line}\n`).join('');
  return alignTabs([headerOf(shape, source), ...lines].map((line) => `${line}\n`).join(''));
}

/**
 * Several lists as the fields of one value, for a template or `json`.
 * @throws invalidArgument for a template that does not fit
 */
export function formatLists(
  lists: Readonly<Record<string, readonly object[]>>,
  format: string,
): string {
  const { template } = compileFormat(format, { table: '' });
  try {
    return template.execute(lists);
  } catch (cause) {
    throw invalidArgument(`failed to execute template: ${messageOf(cause)}`, { cause });
  }
}

/** Rows as templates see them, for {@link formatLists}. */
export function rowContexts<R>(rows: readonly R[], shape: RowShape<R>): readonly object[] {
  return rows.map((row) => contextOf(shape, row));
}

/** True when a `--format` asks for the field, so that what it costs is fetched. */
export function formatUses(format: string, field: string): boolean {
  return new RegExp(`\\.${field}\\b|\\{\\{ *json +\\. *\\}\\}`).test(format);
}

/** Writes rows as `--format` (or the config's default for this list) says. */
export async function writeRows<R>(
  session: Session,
  rows: readonly R[],
  options: { readonly format: string; readonly shape: RowShape<R>; readonly named: NamedFormats },
): Promise<void> {
  await session.out(formatRows(rows, options.format, options.shape, options.named));
}

/** Words for `--format` in the help of lists. */
export const FORMAT_USAGE = `How to print:
'table' with headers, 'table TEMPLATE',
'json', or a Go template for each row`;

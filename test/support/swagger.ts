import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { CHECKOUT } from './tools.ts';

/**
 * Checks answers against the facts of Docker's API: its Swagger definitions. Go writes null for a
 * list or an object that it never made, which the definitions do not always say, so null passes
 * for those. Every other field must be there unless it is known to be left out when it is zero.
 */
type Schema = {
  readonly $ref?: string;
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly 'x-nullable'?: boolean;
  readonly allOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
};
type Operation = {
  readonly responses: Readonly<Record<string, { readonly schema?: Schema }>>;
};

export type Swagger = {
  readonly version: string;
  readonly definitions: Readonly<Record<string, Schema>>;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
};

/** The facts of one version; undefined when they are not beside the checkout. */
export function loadSwagger(version: string): Swagger | undefined {
  const file = path.join(CHECKOUT, `../shared/api/engine-${version}.json`);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Swagger) : undefined;
}

/** `GET /images/{name}/json` of each operation. */
export function operationsOf(swagger: Swagger): string[] {
  return Object.entries(swagger.paths).flatMap(([at, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${at}`),
  );
}

/** Fields that may be missing, as `Definition.field` or `field` anywhere. */
export type Leeway = {
  readonly missing: ReadonlySet<string>;
  /** Fields that are there and in no definition. */
  readonly extra: ReadonlySet<string>;
};

/** What is wrong with a successful answer; empty when nothing is. Without a body only its status is looked at. */
export function problemsOf(
  swagger: Swagger,
  operation: { method: string; path: string; status: number },
  body: { readonly value: unknown } | undefined,
  leeway: Leeway,
): string[] {
  const found = swagger.paths[operation.path]?.[operation.method.toLowerCase()];
  if (found === undefined) return [`no operation ${operation.method} ${operation.path}`];
  const response = found.responses[String(operation.status)];
  if (response === undefined) {
    return [`status ${operation.status} is none of ${Object.keys(found.responses).join(' ')}`];
  }
  if (body === undefined || response.schema === undefined) return [];
  if (response.schema.type === 'string') return [];
  const problems: string[] = [];
  check({ swagger, leeway, problems }, response.schema, body.value, { at: '', name: '' });
  return problems;
}

type Context = {
  readonly swagger: Swagger;
  readonly leeway: Leeway;
  readonly problems: string[];
};
/** `at` is the path in the answer, `name` the definition that it is in. */
type Place = { readonly at: string; readonly name: string };

function resolve({ swagger }: Context, schema: Schema, place: Place): [Schema, Place] {
  if (schema.$ref === undefined) return [schema, place];
  const name = schema.$ref.split('/').at(-1) ?? '';
  const target = swagger.definitions[name];
  if (target === undefined) throw new Error(`no definition ${name}`);
  const [resolved] = resolve({ swagger } as Context, target, place);
  return [
    schema['x-nullable'] === true ? { ...resolved, 'x-nullable': true } : resolved,
    { ...place, name },
  ];
}

/** All properties of a schema, those that it embeds included. */
function propertiesOf(context: Context, schema: Schema): Record<string, Schema> {
  const own = { ...schema.properties };
  for (const part of schema.allOf ?? []) {
    const [resolved] = resolve(context, part, { at: '', name: '' });
    Object.assign(own, propertiesOf(context, resolved));
  }
  return own;
}

/** Docker writes these for what was not set, whether or not a list of words has them. */
const UNSET = new Set<unknown>(['', 'no']);

/** A scalar that is written as `allOf` one definition. */
function scalarOf(context: Context, schema: Schema): Schema {
  const [only, ...more] = schema.allOf ?? [];
  if (only === undefined || more.length > 0) return schema;
  const [resolved] = resolve(context, only, { at: '', name: '' });
  return resolved.type === undefined || resolved.type === 'object' ? schema : resolved;
}

const TYPE_OF: Readonly<Record<string, (value: unknown) => boolean>> = {
  string: (value) => typeof value === 'string',
  integer: (value) => Number.isInteger(value),
  number: (value) => typeof value === 'number',
  boolean: (value) => typeof value === 'boolean',
};

function check(context: Context, given: Schema, value: unknown, from: Place): void {
  const [resolved, place] = resolve(context, given, from);
  const schema = scalarOf(context, resolved);
  // Version 1.41 names the list of summaries ContainerSummary, and has lists of it.
  if (schema.type === 'array' && !Array.isArray(value) && given.$ref !== undefined) {
    check(context, schema.items ?? {}, value, place);
    return;
  }
  const { problems } = context;
  const isComposite = schema.type === 'array' || schema.type === 'object' || !schema.type;
  if (value === null) {
    const field = place.at.split('.').at(-1) ?? '';
    const { missing } = context.leeway;
    const leeway = missing.has(field) || missing.has(`${place.name}.${field}`);
    if (!isComposite && schema['x-nullable'] !== true && !leeway)
      problems.push(`${place.at} is null`);
    return;
  }
  if (schema.type === 'array') {
    if (!Array.isArray(value)) problems.push(`${place.at} is no list`);
    else {
      for (const each of value) {
        check(context, schema.items ?? {}, each, { ...place, at: `${place.at}[]` });
      }
    }
    return;
  }
  const isType = TYPE_OF[schema.type ?? ''];
  if (isType !== undefined) {
    const shown = JSON.stringify(value);
    if (!isType(value)) problems.push(`${place.at} = ${shown} is no ${schema.type}`);
    else if (schema.enum?.includes(value) === false && !UNSET.has(value)) {
      problems.push(`${place.at} = ${shown} is none of ${JSON.stringify(schema.enum)}`);
    }
    return;
  }
  checkObject(context, schema, value, place);
}

function checkObject(context: Context, schema: Schema, value: unknown, place: Place): void {
  const { problems, leeway } = context;
  const properties = propertiesOf(context, schema);
  const { additionalProperties } = schema;
  const more = typeof additionalProperties === 'object' ? additionalProperties : undefined;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    problems.push(`${place.at} is no object`);
    return;
  }
  if (Object.keys(properties).length === 0 && more === undefined) return;
  const below = (key: string): Place => ({ ...place, at: `${place.at}.${key}` });
  for (const [key, each] of Object.entries(value)) {
    const known = properties[key] ?? more;
    if (known !== undefined) check(context, known, each, below(more === undefined ? key : '*'));
    else if (!leeway.extra.has(key)) problems.push(`${place.at}.${key} is unknown`);
  }
  for (const key of Object.keys(properties)) {
    if (key in value || leeway.missing.has(key)) continue;
    if (!leeway.missing.has(`${place.name}.${key}`)) {
      problems.push(`${place.at}.${key} is missing (${place.name})`);
    }
  }
}

import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";

/** The part of JSON Schema that the specification's documents use to say something about an answer. */
export interface Schema {
  readonly type?: string | readonly string[];
  readonly enum?: readonly Json[];
  readonly const?: Json;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly pattern?: string;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly oneOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
}

/** Where the value is not what the schema says: "path: what is wrong". Empty when it is. */
export function violations(schema: Schema, value: Json | undefined, path = "answer"): string[] {
  if (value === undefined) return [`${path}: is missing`];
  const found: string[] = [];
  const types = schema.type === undefined ? undefined : typeof schema.type === "string" ? [schema.type] : schema.type;
  if (types !== undefined && !types.some((type) => isOfType(type, value))) return [`${path}: is ${typeOf(value)}, not ${types.join(" or ")}`];
  if (schema.enum !== undefined && !schema.enum.some((one) => one === value))
    found.push(`${path}: ${JSON.stringify(value)} is none of ${JSON.stringify(schema.enum)}`);
  if (schema.const !== undefined && schema.const !== value) found.push(`${path}: is not ${JSON.stringify(schema.const)}`);
  if (typeof value === "string" && schema.pattern !== undefined && !new RegExp(schema.pattern, "u").test(value))
    found.push(`${path}: does not match ${schema.pattern}`);
  if (typeof value === "number") {
    if (schema.minimum !== undefined && value < schema.minimum) found.push(`${path}: is less than ${schema.minimum}`);
    if (schema.maximum !== undefined && value > schema.maximum) found.push(`${path}: is more than ${schema.maximum}`);
  }
  if (Array.isArray(value)) {
    if (schema.minItems !== undefined && value.length < schema.minItems) found.push(`${path}: has less than ${schema.minItems} items`);
    if (schema.maxItems !== undefined && value.length > schema.maxItems) found.push(`${path}: has more than ${schema.maxItems} items`);
    if (schema.items !== undefined) for (const [index, item] of value.entries()) found.push(...violations(schema.items, item, `${path}[${index}]`));
  } else if (isJsonObject(value)) {
    found.push(...objectViolations(schema, value, path));
  }
  for (const each of schema.allOf ?? []) found.push(...violations(each, value, path));
  for (const choice of [schema.oneOf, schema.anyOf]) {
    // One that fits is enough: several of the documents' alternatives overlap.
    if (choice === undefined || choice.length === 0) continue;
    const tried = choice.map((each) => violations(each, value, path));
    if (tried.some((each) => each.length === 0)) continue;
    // What is told is where the value comes closest: what is of another kind altogether was not meant.
    const meant = tried.filter((each) => !each.some((one) => one.startsWith(`${path}: is `)));
    found.push(...(meant.length === 0 ? tried : meant).reduce((least, each) => (each.length < least.length ? each : least)));
  }
  return found;
}

function objectViolations(schema: Schema, value: JsonObject, path: string): string[] {
  const found: string[] = [];
  for (const name of schema.required ?? []) if (value[name] === undefined) found.push(`${path}.${name}: is missing`);
  for (const [name, item] of Object.entries(value)) {
    const where = `${path}.${name}`;
    const known = schema.properties?.[name];
    if (known !== undefined) found.push(...violations(known, item, where));
    const patterns = Object.entries(schema.patternProperties ?? {}).filter(([pattern]) => new RegExp(pattern, "u").test(name));
    for (const [, each] of patterns) found.push(...violations(each, item, where));
    // Names beside the known ones are always allowed; what they hold may be said.
    const rest = schema.additionalProperties;
    if (known === undefined && patterns.length === 0 && typeof rest === "object") found.push(...violations(rest, item, where));
  }
  return found;
}

function isOfType(type: string, value: Json): boolean {
  return type === typeOf(value) || (type === "number" && typeof value === "number");
}

function typeOf(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

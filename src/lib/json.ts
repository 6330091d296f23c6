/** A JSON object as it came over the wire or out of the database. */
export type Json = null | boolean | number | bigint | string | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json | undefined;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof JsonText);
}

/**
 * JSON already serialised: an event's text is built once and shared by all who receive it. `stringify` splices it into the
 * answer as it is.
 */
export class JsonText {
  constructor(readonly text: string) {}
}

/**
 * Compact JSON of a value that may hold `JsonText` and bigint at any depth. `undefined` properties are left out, as by JSON.stringify.
 */
export function stringify(value: unknown): string {
  if (value === null || value === undefined) return "null";
  if (value instanceof JsonText) return value.text;
  switch (typeof value) {
    case "string":
    case "boolean":
    case "number":
      return JSON.stringify(value);
    case "bigint":
      return value.toString();
    case "object":
      break;
    default:
      throw new TypeError(`not JSON: ${typeof value}`);
  }
  if (Array.isArray(value)) {
    let out = "[";
    for (let i = 0; i < value.length; i++) out += (i === 0 ? "" : ",") + stringify(value[i]);
    return out + "]";
  }
  const toJson = (value as { toJSON?: () => unknown }).toJSON;
  if (typeof toJson === "function") return stringify(toJson.call(value));
  let out = "{";
  let first = true;
  for (const key of Object.keys(value)) {
    const item = (value as Record<string, unknown>)[key];
    if (item === undefined) continue;
    out += (first ? "" : ",") + JSON.stringify(key) + ":" + stringify(item);
    first = false;
  }
  return out + "}";
}

import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";

/** A copy that a module may change; numbers stay what they are (`JsonFloat` and bigints, which `structuredClone` would take apart). */
export function cloneJson(value: JsonObject): JsonObject {
  return clone(value) as JsonObject;
}

function clone(value: Json): Json {
  if (Array.isArray(value)) return value.map(clone);
  if (!isJsonObject(value)) return value;
  const copy: JsonObject = {};
  for (const [key, item] of Object.entries(value))
    if (item !== undefined) Object.defineProperty(copy, key, { value: clone(item), enumerable: true, writable: true, configurable: true });
  return copy;
}

/** A JSON object as it came over the wire or out of the database. */
export type Json = null | boolean | number | bigint | string | JsonFloat | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json | undefined;
}

/** True for objects, not for lists and null. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof JsonText) && !(value instanceof JsonFloat);
}

/**
 * A number that was written as a float (`1.0`, `1e3`, `0.25`). JavaScript would forget that `1.0` is not `1`; events of room
 * versions 1 to 5 are hashed with the difference. `parseJson` makes these; `stringify` and canonical JSON print them as
 * Python's json does, which is what the hashes of existing events were made from.
 */
export class JsonFloat {
  constructor(
    /** Always finite. */
    readonly value: number,
    /** The literal as it was written. */
    readonly source: string = String(value),
  ) {}

  /** The shortest text that reads back as the same double: `1.0`, `1e-05`, `1e+16`, as Python's `repr`. */
  toString(): string {
    return formatFloat(this.value);
  }

  valueOf(): number {
    return this.value;
  }

  /** For code that prints by JSON.stringify: the plain number. */
  toJSON(): number {
    return this.value;
  }
}

/** A JSON number as a JavaScript number (rounded when it is no exact one), undefined for anything else. */
export function toNumber(value: Json | undefined): number | undefined {
  if (typeof value === "number") return value;
  if (value instanceof JsonFloat) return value.value;
  return typeof value === "bigint" ? Number(value) : undefined;
}

/** Digits as Python prints a float: fixed for decimal exponents from -4 to 15, else with a signed exponent of two digits or more. */
function formatFloat(value: number): string {
  if (Object.is(value, -0)) return "-0.0";
  const [mantissa, exponentText] = value.toExponential().split("e") as [string, string];
  const exponent = Number(exponentText);
  if (exponent < -4 || exponent >= 16) {
    const digits = Math.abs(exponent).toString().padStart(2, "0");
    return `${mantissa}e${exponent < 0 ? "-" : "+"}${digits}`;
  }
  const text = exponent < 0 ? value.toFixed(Math.max(0, mantissa.replace(/[-.]/g, "").length - 1 - exponent)) : String(value);
  return text.includes(".") ? text : text + ".0";
}

/**
 * JSON already serialised: an event's text is built once and shared by all who receive it. `stringify` splices it into the
 * answer as it is.
 */
export class JsonText {
  constructor(readonly text: string) {}
}

/**
 * Compact JSON of a value that may hold `JsonText`, `JsonFloat` and bigint at any depth. `undefined` properties are left out, as by JSON.stringify.
 */
export function stringify(value: unknown): string {
  if (value === null || value === undefined) return "null";
  if (value instanceof JsonText) return value.text;
  if (value instanceof JsonFloat) return value.toString();
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

/**
 * Compact JSON with everything outside printable ASCII as lower-case \uXXXX: how Synapse writes JSON into text columns. Lone
 * surrogates survive as escapes.
 */
export function stringifyAscii(value: unknown): string {
  const text = stringify(value);
  return NOT_ASCII.test(text) ? text.replace(NOT_ASCII_ALL, escapeUnit) : text;
}

const NOT_ASCII = /[^\x00-\x7e]/;
const NOT_ASCII_ALL = /[^\x00-\x7e]/g;
const escapeUnit = (unit: string): string => "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0");

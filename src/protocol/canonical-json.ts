import { JsonFloat, toNumber, type Json, type JsonObject } from "../lib/json.ts";

/** The value has no canonical form: a float or too great an integer where they are refused, a lone surrogate, or no JSON at all. */
export class CanonicalJsonError extends Error {
  override name = "CanonicalJsonError";
}

/**
 * Canonical JSON (specification appendix "Canonical JSON"): compact, keys sorted by code point, UTF-8 text unescaped. Floats and
 * integers beyond 2^53-1 are printed as Python prints them, as events of room versions 1 to 5 may hold them: use
 * `canonicalProblem` where they must be refused. Properties that are undefined are left out.
 * @throws CanonicalJsonError for lone surrogates, which have no UTF-8 form, and for what is not JSON
 */
export function canonicalJson(value: Json | undefined): string {
  const text = write(value);
  // JSON.stringify escapes lone surrogates and nothing else as \ud...; an escaped backslash before "ud" is text.
  if (text.includes("\\ud") && /(?<!\\)(?:\\\\)*\\ud/.test(text)) throw new CanonicalJsonError("Lone surrogate in a string");
  return text;
}

/**
 * Why a value must be refused where canonical JSON is enforced strictly (room version 6 and later): a float, or an integer
 * beyond 2^53-1. Undefined when there is nothing wrong.
 */
export function canonicalProblem(value: Json | undefined): string | undefined {
  switch (typeof value) {
    case "number":
      return Number.isSafeInteger(value) ? undefined : Number.isInteger(value) ? "JSON integer out of range" : "Bad JSON value: float";
    case "bigint":
      return value > MAX_SAFE || value < -MAX_SAFE ? "JSON integer out of range" : undefined;
    case "object":
      break;
    default:
      return undefined;
  }
  if (value === null) return undefined;
  if (value instanceof JsonFloat) return "Bad JSON value: float";
  for (const item of Array.isArray(value) ? value : Object.values(value)) {
    const problem = canonicalProblem(item);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER);

/** An integer as JSON has it: no float, whatever its value. */
export function isJsonInteger(value: Json | undefined): value is number | bigint {
  return typeof value === "bigint" || (typeof value === "number" && Number.isInteger(value));
}

function write(value: Json | undefined): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value);
    case "boolean":
      return value ? "true" : "false";
    case "number":
      return writeNumber(value);
    case "bigint":
      return value.toString();
    case "object":
      if (value === null) return "null";
      if (Array.isArray(value)) return writeArray(value);
      if (value instanceof JsonFloat) return value.toString();
      return writeObject(value);
    default:
      throw new CanonicalJsonError(`Not JSON: ${typeof value}`);
  }
}

function writeNumber(value: number): string {
  if (Number.isSafeInteger(value)) return value === 0 ? "0" : String(value);
  if (!Number.isFinite(value)) throw new CanonicalJsonError("Not JSON: a number that is not finite");
  return Number.isInteger(value) ? BigInt(value).toString() : new JsonFloat(toNumber(value)!).toString();
}

function writeArray(items: readonly Json[]): string {
  let out = "[";
  for (let i = 0; i < items.length; i++) out += i === 0 ? write(items[i]) : "," + write(items[i]);
  return out + "]";
}

function writeObject(object: JsonObject): string {
  const keys = Object.keys(object);
  if (keys.length > 1) sortKeys(keys);
  let out = "";
  for (const key of keys) {
    const item = object[key];
    if (item === undefined) continue;
    out += (out === "" ? "" : ",") + JSON.stringify(key) + ":" + write(item);
  }
  return "{" + out + "}";
}

const ABOVE_SURROGATES = /[\ud800-\uffff]/;

/** By code point. JavaScript sorts by UTF-16 unit, which differs only where a key has a surrogate and another a unit above them. */
export function sortKeys(keys: string[]): string[] {
  keys.sort();
  return keys.some((key) => ABOVE_SURROGATES.test(key)) ? keys.sort(compareCodePoints) : keys;
}

/** Order of two strings by code point, which is that of their UTF-8 bytes. */
export function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    // A surrogate belongs to a code point above all units from U+E000 to U+FFFF.
    if (x !== y) return surrogateLast(x) - surrogateLast(y);
  }
  return a.length - b.length;
}

const surrogateLast = (unit: number): number => (unit >= 0xd800 && unit <= 0xdfff ? unit + 0x2000 : unit >= 0xe000 ? unit - 0x800 : unit);

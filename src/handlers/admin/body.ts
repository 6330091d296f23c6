import type { JsonObject } from "../../lib/json.ts";
import { missingParam } from "../../protocol/errors.ts";

/** @throws MatrixError 400 M_MISSING_PARAM that names the keys which the body lacks */
export function requireKeys(body: JsonObject, keys: readonly string[]): void {
  const missing = keys.filter((key) => body[key] === undefined);
  if (missing.length > 0) throw missingParam(`Missing params: [${missing.map((key) => `'${key}'`).join(", ")}]`);
}

/** True for what Python takes for true. */
export function isTruthy(value: unknown): boolean {
  if (value === null || value === undefined || value === "" || value === 0 || value === false) return false;
  return typeof value !== "object" || Object.keys(value).length > 0;
}

/** A whole number of JSON (no float, no boolean). */
export const isInteger = (value: unknown): value is number => typeof value === "number" && Number.isSafeInteger(value);

import { type JsonObject, stringify } from "../../lib/json.ts";
import { MatrixError, missingParam } from "../../protocol/errors.ts";

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

/** A value as Synapse's messages show it. */
export function asPython(value: unknown): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  return typeof value === "string" ? `'${value}'` : stringify(value);
}

/** What is to be changed does not exist; Synapse gives no code of its own to it. */
export const noRow = (table: string): MatrixError => new MatrixError(404, "M_UNKNOWN", `No row found (${table})`);

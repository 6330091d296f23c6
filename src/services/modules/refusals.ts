import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { MatrixError } from "../../protocol/errors.ts";

/** What a spam checker says to what it lets pass. */
export const NOT_SPAM = "NOT_SPAM";

/** An error code, such as `M_FORBIDDEN`. */
export type ErrorCode = string;

/** An error code with further keys of the answer. */
export type RefusalWithFields = readonly [code: ErrorCode, fields: JsonObject];

/** Why something is refused, whatever form the module chose. */
export interface Refusal {
  readonly errcode: ErrorCode;
  readonly fields: JsonObject;
}

const FORBIDDEN: Refusal = { errcode: "M_FORBIDDEN", fields: {} };
const ERROR_CODE = /^(?:[A-Za-z0-9_-]+\.)*M_[A-Z0-9_]+$|^ORG[._]MATRIX[._][A-Z0-9._]+$/;

export const isErrorCode = (value: unknown): value is ErrorCode => typeof value === "string" && ERROR_CODE.test(value);

/** `[code, fields]` of a module, which is checked. */
export function isRefusalWithFields(value: unknown): value is RefusalWithFields {
  return Array.isArray(value) && value.length === 2 && isErrorCode(value[0]) && isJsonObject(value[1]);
}

/**
 * Reads the answer of a callback that may say `NOT_SPAM`, an error code, `[code, fields]` or, in the old form, a boolean. Anything else is
 * a refusal, and `warn` is called.
 * @param passes the boolean of the old form that lets pass; undefined where there is no old form
 */
export function readVerdict(result: unknown, passes: boolean | undefined, warn: () => void): Refusal | undefined {
  if (result === NOT_SPAM || (passes !== undefined && result === passes)) return undefined;
  if (isErrorCode(result)) return { errcode: result, fields: {} };
  if (isRefusalWithFields(result)) return { errcode: result[0], fields: result[1] };
  if (passes === undefined || result !== !passes) warn();
  return FORBIDDEN;
}

/** 403 with the words that Synapse has for this kind of request, and the code that the module chose. */
export const refuse = ({ errcode, fields }: Refusal, message: string): MatrixError => new MatrixError(403, errcode, message, fields);

/**
 * The error that a module threw, as clients are to see it: a `MatrixError`, or an error with `errcode` and an HTTP status as `status` or
 * `code`. undefined for failures.
 */
export function thrownRefusal(error: unknown): MatrixError | undefined {
  if (error instanceof MatrixError) return error;
  if (!(error instanceof Error)) return undefined;
  const { errcode, status, code, extra } = error as Error & Record<"errcode" | "status" | "code" | "extra", unknown>;
  const http = typeof status === "number" ? status : code;
  if (typeof errcode !== "string" || typeof http !== "number" || !Number.isInteger(http) || http < 400 || http > 599) return undefined;
  return new MatrixError(http, errcode, error.message, isJsonObject(extra) ? extra : {});
}

/** Calls a callback whose errors go to the client: a refusal as what it is. */
export async function callModule<T>(call: () => T | Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw thrownRefusal(error) ?? error;
  }
}

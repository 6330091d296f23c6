import type { IncomingMessage } from "node:http";
import type { z } from "zod";
import { ByteCollector } from "../../lib/byte-collector.ts";
import type { Clock, Timer } from "../../lib/clock.ts";
import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { parseJson, parsePlainJson } from "../../lib/lossless-json.ts";
import { badJson, invalidParam, MatrixError, missingParam } from "../../protocol/errors.ts";
import type { Endpoint } from "./endpoint.ts";

/** A body has this long, and one second more for each `SLOWEST_BYTES_PER_SECOND` that have come (as web servers commonly do). */
const BODY_PATIENCE_MS = 20_000;
const SLOWEST_BYTES_PER_SECOND = 500;

type Timing = Pick<Clock, "monotonic" | "after">;

/** Calls `tooSlow` once what has come, of which `size` tells, is too little for the time that has passed. Returns what ends the watch. */
function watchPace(clock: Timing, size: () => number, tooSlow: () => void): () => void {
  const begun = clock.monotonic();
  let timer: Timer | undefined;
  const check = (): void => {
    const leftMs = begun + BODY_PATIENCE_MS + (size() / SLOWEST_BYTES_PER_SECOND) * 1000 - clock.monotonic();
    if (leftMs > 0) timer = clock.after(leftMs, check);
    else tooSlow();
  };
  check();
  return () => timer?.cancel();
}

/**
 * Reads the whole body, at most `limit` bytes.
 * @throws MatrixError 413 M_TOO_LARGE, 408 where it comes in drops, 400 where it ends early
 */
export function readBody(req: IncomingMessage, limit: number, clock: Timing): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const collector = new ByteCollector();
    let unwatch = (): void => {};
    const settle = (error?: MatrixError): void => {
      unwatch();
      req.off("data", onData).off("end", onEnd).off("close", onGone).off("error", onGone);
      if (error === undefined) resolve(collector.bytes());
      else reject(error);
    };
    const refuse = (status: number, errcode: string, message: string): void => settle(new MatrixError(status, errcode, message, {}, { Connection: "close" }));
    const tooLarge = (): void => refuse(413, "M_TOO_LARGE", "Request content is too large");
    const onData = (chunk: Buffer): void => {
      if (collector.size + chunk.length > limit) return tooLarge();
      collector.add(chunk);
    };
    const onEnd = (): void => settle();
    const onGone = (): void => refuse(400, "M_UNKNOWN", "The request ended early");
    if (Number(req.headers["content-length"] ?? 0) > limit) return tooLarge();
    if (req.destroyed && !req.readableEnded) return onGone();
    if (!req.complete)
      unwatch = watchPace(
        clock,
        () => collector.size,
        () => refuse(408, "M_UNKNOWN", "The request came too slowly"),
      );
    req.on("data", onData).on("end", onEnd).on("close", onGone).on("error", onGone);
  });
}

/**
 * Reads what is left of a body that nobody wants any more, so that its sender hears the answer and can use the connection again; who sends in
 * drops is cut off.
 */
export function drain(req: IncomingMessage, clock: Timing): void {
  let size = 0;
  const unwatch = watchPace(
    clock,
    () => size,
    () => req.socket.destroy(),
  );
  req.on("data", (chunk: Buffer) => (size += chunk.length)).once("close", unwatch);
  req.resume();
}

/** The body as the endpoint wants it: parsed, checked by its schema. */
export function parseBody(endpoint: Endpoint, headers: IncomingMessage["headers"], bytes: Buffer): unknown {
  if (endpoint.bodyType === "raw") return bytes;
  if (endpoint.bodyType === "form") return Object.fromEntries(new URLSearchParams(bytes.toString("utf8")));
  if (/^\s*multipart\//i.test(headers["content-type"] ?? "")) throw new MatrixError(415, "M_UNKNOWN", "Unsupported content type");
  const json = parseJsonObject(bytes, endpoint.emptyBody, endpoint.lossless);
  return endpoint.body === undefined ? json : checkBody(endpoint.body, json);
}

function parseJsonObject(bytes: Buffer, emptyAllowed: Endpoint["emptyBody"], lossless: boolean): JsonObject {
  if (bytes.length === 0 && emptyAllowed !== false) return {};
  let value: unknown;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    value = lossless ? parseJson(text) : parsePlainJson(text);
  } catch {
    if (emptyAllowed === "or no JSON") return {};
    throw new MatrixError(400, "M_NOT_JSON", "Content not JSON.");
  }
  if (!isJsonObject(value)) throw badJson("Content must be a JSON object.");
  return value;
}

/** Validates with zod; the errcode as Synapse's validation chooses it: exactly one missing field, exactly one bad value, anything else. */
export function checkBody<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issues = result.error.issues;
  const text = issues
    .slice(0, 5)
    .map((issue) => `${issue.path.join(".") || "body"}: ${issue.message}`)
    .join("; ");
  const [only] = issues;
  if (issues.length === 1 && only !== undefined) {
    if ((only.code === "invalid_type" || only.code === "invalid_value") && valueAt(value, only.path) === undefined) throw missingParam(text);
    if (only.code === "custom") throw invalidParam(text);
  }
  throw badJson(text);
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  for (const key of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

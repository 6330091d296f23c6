import type { IncomingMessage } from "node:http";
import type { z } from "zod";
import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { parseJson, parsePlainJson } from "../../lib/lossless-json.ts";
import { badJson, invalidParam, MatrixError, missingParam } from "../../protocol/errors.ts";
import type { Endpoint } from "./endpoint.ts";

/** Reads the whole body, at most `limit` bytes. @throws MatrixError 413 M_TOO_LARGE */
export async function readBody(req: IncomingMessage, limit: number): Promise<Buffer> {
  const tooLarge = (): MatrixError => new MatrixError(413, "M_TOO_LARGE", "Request content is too large", {}, { Connection: "close" });
  if (Number(req.headers["content-length"] ?? 0) > limit) throw tooLarge();
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) throw tooLarge();
    chunks.push(chunk);
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

/** The body as the endpoint wants it: parsed, checked by its schema. */
export function parseBody(endpoint: Endpoint, headers: IncomingMessage["headers"], bytes: Buffer): unknown {
  if (endpoint.bodyType === "raw") return bytes;
  if (endpoint.bodyType === "form") return Object.fromEntries(new URLSearchParams(bytes.toString("utf8")));
  if (/^\s*multipart\//i.test(headers["content-type"] ?? "")) throw new MatrixError(415, "M_UNKNOWN", "Unsupported content type");
  const json = parseJsonObject(bytes, endpoint.emptyBody, endpoint.lossless);
  return endpoint.body === undefined ? json : checkBody(endpoint.body, json);
}

function parseJsonObject(bytes: Buffer, emptyAllowed: boolean, lossless: boolean): JsonObject {
  if (bytes.length === 0 && emptyAllowed) return {};
  let value: unknown;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    value = lossless ? parseJson(text) : parsePlainJson(text);
  } catch {
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
    if (only.code === "invalid_type" && valueAt(value, only.path) === undefined) throw missingParam(text);
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

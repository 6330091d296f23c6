import { readFileSync } from "node:fs";
import { isJsonObject, type JsonObject } from "../lib/json.ts";
import { parseJson } from "../lib/lossless-json.ts";
import { verifyKey, type VerifyKey } from "../protocol/event/sign.ts";
import { parseStoredEvent, type StoredEventRow } from "../protocol/event/format.ts";
import type { MatrixEvent } from "../protocol/event/event.ts";

/** Events of every room version as a real Synapse 1.160 stored them, made by compat-tests/fixtures/extract-real-events.ts. For tests. */
export function realEvents(): {
  readonly keys: ReadonlyMap<string, VerifyKey>;
  readonly rows: readonly (StoredEventRow & { json: JsonObject })[];
  readonly events: readonly MatrixEvent[];
} {
  const file = parseJson(readFileSync(new URL("../protocol/testdata/real-events.json", import.meta.url), "utf8"));
  if (!isJsonObject(file)) throw new Error("real-events.json is not an object");
  const keys = new Map(
    (file.keys as unknown as { server_name: string; key_id: string; key: string }[]).map((row) => [row.server_name, verifyKey(row.key_id, row.key)!]),
  );
  const rows = file.events as unknown as (StoredEventRow & { json: JsonObject })[];
  return { keys, rows, events: rows.map((row) => parseStoredEvent(row)!) };
}

import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { MatrixEvent } from "../../protocol/event/event.ts";
import { storedEventJson } from "../../protocol/event/serialise.ts";
import { signEventJson, signingKeyFromSeed, verifyEventJson, verifyKey } from "../../protocol/event/sign.ts";
import type { Txn } from "../../storage/database.ts";
import { ownEventsAfter, rewriteEventJson } from "../../storage/events/resign.ts";
import type { Batch } from "../../storage/jobs/background-updates-batches.ts";
import type { UpdateContext } from "./update.ts";

/** Below every stream position, those of history too. */
const FIRST = -(2 ** 31);

/**
 * Signs events of this server's users anew that the present key has not signed, in place of what other keys of this server did (Synapse's
 * `event_resign`). With `old_key` ("ed25519:id base64") only those that this key did sign.
 */
export async function resignEvents(ctx: UpdateContext, txn: Txn, progress: JsonObject, size: number): Promise<Batch> {
  const { serverName } = ctx.config.server;
  const { version, seed } = ctx.config.key.signingKeys[0]!;
  const key = signingKeyFromSeed(version, seed);
  const oldKey = oldKeyOf(progress.old_key);
  const after = typeof progress.last_stream_pos === "number" ? progress.last_stream_pos : FIRST;
  const before = typeof progress.before_ts === "number" ? progress.before_ts : undefined;
  const rows = await ownEventsAfter(txn, serverName, after, before, size);
  const end = rows.at(-1);
  if (end === undefined) return { items: 0, progress: undefined };
  const events = await ctx.events.get(
    rows.map((row) => row.event_id),
    { raw: true, rejected: true },
  );
  const written: { eventId: string; json: string }[] = [];
  for (const event of events.values()) {
    const { signatures } = event.json;
    const own = isJsonObject(signatures) ? signatures[serverName] : undefined;
    if (isJsonObject(own) && own[key.keyId] !== undefined) continue;
    if (oldKey !== undefined) {
      if (!isJsonObject(own) || own[oldKey.keyId] === undefined) continue;
      if (!verifyEventJson(event.json, event.roomVersion, serverName, oldKey)) {
        ctx.log
          .named("synapse.storage.databases.main.events_bg_updates")
          .warn(`Event ${event.eventId} has a signature of key ${oldKey.keyId} that does not verify: it stays as it is`);
        continue;
      }
    }
    const { [serverName]: _, ...others } = isJsonObject(signatures) ? signatures : {};
    const json = signEventJson({ ...event.json, signatures: others }, event.roomVersion, serverName, key);
    written.push({ eventId: event.eventId, json: storedEventJson(new MatrixEvent(json, event.roomVersion, event.eventId, event.internal)) });
  }
  await rewriteEventJson(txn, written);
  txn.afterCommit(() => {
    for (const { eventId } of written) ctx.events.forget(eventId);
  });
  return { items: rows.length, progress: { ...progress, last_stream_pos: end.stream_ordering } };
}

function oldKeyOf(value: unknown): ReturnType<typeof verifyKey> {
  if (typeof value !== "string") return undefined;
  const [keyId, bytes] = value.split(" ");
  const key = keyId === undefined || bytes === undefined ? undefined : verifyKey(keyId, bytes);
  if (key === undefined) throw new Error("old_key must be an algorithm, a key id and the key in base64, as in 'ed25519:id base64'");
  return key;
}

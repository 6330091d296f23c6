import type { LRUCache } from "lru-cache";
import { type Json, type JsonObject, stringify } from "../../lib/json.ts";
import { lruCache } from "../../lib/lru-cache.ts";
import { getDomain } from "../../protocol/ids.ts";
import { getLocalUsersSharingRooms } from "../../storage/accounts/profile-audience.ts";
import { profilesOf, profileUpdatesFor } from "../../storage/accounts/profile-updates.ts";
import type { Context } from "../context.ts";
import type { StreamToken } from "../streams/token.ts";
import { profileChanges } from "./profile-changes.ts";
import type { SyncAnswer } from "./respond.ts";
import type { SyncRequest } from "./types.ts";

/** Fields of profiles by user; null: forget what you know of the user. */
export type ProfileUpdates = Readonly<Record<string, JsonObject | null>>;

type Shown = Pick<SyncAnswer, "joined" | "archived" | "invited" | "knocked">;

/**
 * Profiles of local users (MSC4429): in a first sync the fields that the filter names, of all with whom the user shares a room; then what changed,
 * who came and who left. Where members are loaded lazily, of those who sent what the answer shows, and only what the client was not sent lately.
 */
export async function profileUpdates(
  ctx: Pick<Context, "read" | "config" | "profileFieldsSent">,
  request: SyncRequest,
  now: StreamToken,
  shown: Shown,
): Promise<ProfileUpdates> {
  const { filter, since, userId } = request;
  const fields = new Set(filter.profileFields);
  if (!ctx.config.server.includeProfileUpdatesInSync || fields.size === 0) return {};
  const senders = filter.lazyLoadMembers ? localSenders(shown, ctx.config.server.serverName) : undefined;
  if (since === undefined) return await firstProfiles(ctx, userId, fields, senders);

  const updates = await profileUpdatesFor(ctx.read, userId, { since: since.profileUpdates, upTo: now.profileUpdates }, [...fields]);
  const { came, left, changed } = profileChanges(updates, fields);
  const users = new Set([...(senders ?? []), ...changed.keys(), ...came]);
  const profiles = await profilesOf(ctx.read, [...users]);
  const result: Record<string, JsonObject | null> = {};
  for (const other of users) {
    const profile = profiles.get(other);
    if (profile === undefined) {
      result[other] = null;
      continue;
    }
    const whole = senders?.has(other) === true || came.has(other);
    const news: JsonObject = {};
    for (const field of fields) {
      if (!changed.get(other)?.has(field) && !(whole && Object.hasOwn(profile, field))) continue;
      // What was removed is null.
      const value = Object.hasOwn(profile, field) ? profile[field]! : null;
      if (senders?.has(other) && !ctx.profileFieldsSent.isNews(request, other, field, value)) continue;
      news[field] = value;
    }
    if (Object.keys(news).length > 0) result[other] = news;
  }
  for (const other of left) result[other] = null;
  return result;
}

async function firstProfiles(
  ctx: Pick<Context, "read">,
  userId: string,
  fields: ReadonlySet<string>,
  senders: ReadonlySet<string> | undefined,
): Promise<ProfileUpdates> {
  const all = await getLocalUsersSharingRooms(ctx.read, userId);
  const users = [...all].filter((other) => senders === undefined || senders.size === 0 || senders.has(other));
  const result: Record<string, JsonObject> = {};
  for (const [other, profile] of await profilesOf(ctx.read, users)) {
    const wanted = Object.entries(profile).filter(([field]) => fields.has(field));
    if (wanted.length > 0) result[other] = Object.fromEntries(wanted);
  }
  return result;
}

function localSenders(shown: Shown, serverName: string): Set<string> {
  const events = [...[...shown.joined, ...shown.archived].flatMap((room) => room.batch.events.map((item) => item.event)), ...shown.invited, ...shown.knocked];
  return new Set(events.map((event) => event.sender).filter((sender) => getDomain(sender) === serverName));
}

/** Devices and values remembered, as many as Synapse's. */
const MAX_DEVICES = 10_000;
const MAX_VALUES = 100;

/** Which fields of profiles a device was sent lately with which value, so that they are not repeated with each event of the same sender. */
export class ProfileFieldsSent {
  private readonly devices = lruCache<string, LRUCache<string, string>>(MAX_DEVICES, { ttl: 30 * 60_000 });

  /** False when the device was sent this value of the field; else it is remembered as sent. */
  isNews(request: Pick<SyncRequest, "userId" | "deviceId">, userId: string, field: string, value: Json): boolean {
    const id = `${request.userId} ${request.deviceId ?? ""}`;
    let sent = this.devices.get(id);
    if (sent === undefined) this.devices.set(id, (sent = lruCache(MAX_VALUES)));
    const text = stringify(value);
    if (sent.get(`${userId} ${field}`) === text) return false;
    sent.set(`${userId} ${field}`, text);
    return true;
  }
}

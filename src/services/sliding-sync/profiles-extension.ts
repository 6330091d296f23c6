import type { JsonObject } from "../../lib/json.ts";
import { getLocalUsersInRoomsOf } from "../../storage/accounts/profile-audience.ts";
import { profilesOf, profileUpdatesFor } from "../../storage/accounts/profile-updates.ts";
import type { Context } from "../context.ts";
import type { StreamToken } from "../streams/token.ts";
import { profileChanges } from "../sync/profile-changes.ts";
import type { SlidingSyncBody } from "./request.ts";
import { LAZY } from "./room-config.ts";
import type { InterestedRooms } from "./room-list.ts";
import type { RoomResult } from "./rooms.ts";

interface Answer {
  readonly userId: string;
  readonly body: SlidingSyncBody;
  readonly interested: InterestedRooms;
  readonly results: readonly RoomResult[];
  readonly since: StreamToken | undefined;
  readonly now: StreamToken;
}

/** A user's fields that are new or other than before, and those that are gone; null: forget what you know of the user. */
type Entry = { updated?: JsonObject; removed?: string[] } | null;

/**
 * Profiles of local users (MSC4262). The first answer has those of the members of all its rooms, or, where members are loaded lazily, of those whom
 * the answer shows; the next ones what changed, who came and who left. Undefined where there is nothing to say.
 */
export async function profilesExtension(
  ctx: Pick<Context, "read" | "config">,
  answer: Answer,
  fields: readonly string[] | undefined,
): Promise<{ json: unknown; news: boolean } | undefined> {
  if (!ctx.config.server.includeProfileUpdatesInSync) return undefined;
  const users = answer.since === undefined ? await firstProfiles(ctx, answer, fields) : await changedProfiles(ctx, answer, answer.since, fields);
  return Object.keys(users).length === 0 ? undefined : { json: { users }, news: true };
}

async function firstProfiles(ctx: Pick<Context, "read">, answer: Answer, fields: readonly string[] | undefined): Promise<Record<string, Entry>> {
  const { shown, lazyRooms } = shownInLazyRooms(answer);
  const others = [...answer.interested.relevant.keys()].filter((roomId) => !lazyRooms.has(roomId));
  const members = others.length === 0 ? [] : await getLocalUsersInRoomsOf(ctx.read, answer.userId, others);
  const users: Record<string, Entry> = {};
  for (const [userId, profile] of await profilesOf(ctx.read, [...new Set([...shown, ...members, answer.userId])])) {
    const updated = Object.fromEntries(Object.entries(profile).filter(([field]) => fields === undefined || fields.includes(field)));
    if (Object.keys(updated).length > 0) users[userId] = { updated };
  }
  return users;
}

async function changedProfiles(
  ctx: Pick<Context, "read" | "config">,
  answer: Answer,
  since: StreamToken,
  fields: readonly string[] | undefined,
): Promise<Record<string, Entry>> {
  const range = { since: since.profileUpdates, upTo: answer.now.profileUpdates };
  const updates = range.since >= range.upTo ? [] : await profileUpdatesFor(ctx.read, answer.userId, range, fields);
  const { came, left, changed } = profileChanges(updates, fields === undefined ? undefined : new Set(fields));
  const { shown } = shownInLazyRooms(answer);
  const wanted = new Set([...shown, ...came, ...changed.keys()]);
  const profiles = await profilesOf(ctx.read, [...wanted]);
  const users: Record<string, Entry> = {};
  for (const userId of left) users[userId] = null;
  for (const userId of wanted) {
    if (left.has(userId)) continue;
    const profile = profiles.get(userId);
    if (profile === undefined) {
      // Of users of other servers nothing is known here.
      if (userId.endsWith(`:${ctx.config.server.serverName}`)) users[userId] = null;
      continue;
    }
    const own = changed.get(userId) ?? new Set<string>();
    const whole = shown.has(userId) || came.has(userId);
    const entry = whole ? [...new Set([...Object.keys(profile), ...own])].filter((field) => fields === undefined || fields.includes(field)) : [...own];
    const updated: JsonObject = {};
    const removed: string[] = [];
    for (const field of entry) {
      const value = Object.hasOwn(profile, field) ? profile[field] : undefined;
      if (own.has(field) && (value === undefined || (value === null && isStandard(field)))) removed.push(field);
      else if (value !== undefined) updated[field] = value;
    }
    if (Object.keys(updated).length + removed.length === 0) continue;
    users[userId] = { ...(Object.keys(updated).length > 0 && { updated }), ...(removed.length > 0 && { removed }) };
  }
  return users;
}

const isStandard = (field: string): boolean => field === "displayname" || field === "avatar_url";

/** Whom the answer shows in rooms whose members are loaded lazily: senders, members and heroes. */
function shownInLazyRooms({ body, interested, results }: Answer): { shown: Set<string>; lazyRooms: Set<string> } {
  const isLazy = (parameters: { readonly required_state: readonly (readonly [string, string])[] }): boolean =>
    parameters.required_state.some(([type, key]) => type === "m.room.member" && key === LAZY);
  const lazyRooms = new Set(Object.entries(body.room_subscriptions ?? {}).flatMap(([roomId, room]) => (isLazy(room) ? [roomId] : [])));
  for (const [name, list] of Object.entries(body.lists ?? {}))
    if (isLazy(list)) for (const op of interested.lists.get(name)?.ops ?? []) for (const roomId of op.room_ids) lazyRooms.add(roomId);
  const shown = new Set<string>();
  for (const result of results) {
    if (!lazyRooms.has(result.roomId)) continue;
    for (const { event } of result.timeline ?? []) shown.add(event.sender);
    for (const event of [...result.requiredState, ...result.heroes])
      if (event.type === "m.room.member" && event.stateKey !== undefined) shown.add(event.stateKey);
  }
  return { shown, lazyRooms };
}

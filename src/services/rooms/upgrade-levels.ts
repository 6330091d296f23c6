import { isJsonObject, type Json, type JsonObject, toNumber } from "../../lib/json.ts";

/** Power levels on their way from a room to the one that replaces it. */

/** A copy with whole numbers throughout: old rooms may hold them as strings. What is no number is left out. */
export function copyPowerLevels(content: JsonObject): JsonObject {
  const copy: JsonObject = {};
  for (const [key, value] of Object.entries(content)) {
    if (isJsonObject(value)) {
      const inner: JsonObject = {};
      for (const [name, level] of Object.entries(value)) {
        const whole = wholeNumber(level);
        if (whole !== undefined) inner[name] = whole;
      }
      copy[key] = inner;
    } else {
      const whole = wholeNumber(value);
      if (whole !== undefined) copy[key] = whole;
    }
  }
  return copy;
}

function wholeNumber(value: Json | undefined): number | undefined {
  if (typeof value === "string") return /^\s*[+-]?\d{1,15}\s*$/.test(value) ? Number(value) : undefined;
  const number = toNumber(value);
  return number !== undefined && Number.isSafeInteger(number) ? number : undefined;
}

/** Gives the upgrader the power to send every event that is copied, and to ban. */
export function levelsForCreator(levels: JsonObject, userId: string): JsonObject {
  const events = isJsonObject(levels.events) ? Object.values(levels.events).map(Number) : [];
  const needed = Math.max(Number(levels.state_default ?? 50), Number(levels.ban ?? 50), 0, ...events);
  const users = isJsonObject(levels.users) ? levels.users : {};
  const own = Number(users[userId] ?? levels.users_default ?? 0);
  return own >= needed ? { ...levels, users } : { ...levels, users: { ...users, [userId]: needed } };
}

/** Creators of room version 12 may not be named. */
export function withoutCreators(levels: JsonObject, creators: readonly string[]): JsonObject {
  if (!isJsonObject(levels.users)) return levels;
  return { ...levels, users: Object.fromEntries(Object.entries(levels.users).filter(([userId]) => !creators.includes(userId))) };
}

/** Levels of the room that was replaced: nobody without power talks or invites there. undefined when that is so already. */
export function levelsOfOldRoom(levels: JsonObject): JsonObject | undefined {
  const restricted = Math.max(Number(levels.users_default ?? 0) + 1, 50);
  const raised = { ...levels };
  for (const key of ["invite", "events_default"]) if (Number(levels[key] ?? 0) < restricted) raised[key] = restricted;
  return raised.invite === levels.invite && raised.events_default === levels.events_default ? undefined : raised;
}

import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import { isJsonInteger } from "../canonical-json.ts";
import type { MatrixEvent } from "../event/event.ts";
import { parseUserId } from "../ids.ts";
import { creatorsOf, LEVEL_DEFAULTS, parseLevel, POWER_LEVELS_KEY, type AuthState, type PowerLevels } from "../power-levels.ts";
import type { RoomVersion } from "../room-versions.ts";
import { ALLOWED, malformed, refuse, type AuthResult } from "./result.ts";

const LEVEL_NAMES = Object.keys(LEVEL_DEFAULTS);

/** Rule 10: a new m.room.power_levels event. */
export function checkPowerLevelsEvent(event: MatrixEvent, create: MatrixEvent, state: AuthState, levels: PowerLevels): AuthResult {
  return checkContent(event.content, event.roomVersion, create) ?? checkChanges(event, state.get(POWER_LEVELS_KEY), levels);
}

function checkContent(content: JsonObject, version: RoomVersion, create: MatrixEvent): AuthResult | undefined {
  if (version.integerPowerLevels) {
    // Rule 10.1 (v10 on)
    for (const name of LEVEL_NAMES) {
      const value = content[name];
      if (value !== undefined && !isJsonInteger(value)) return malformed("10.1", `${name} must be an integer.`);
    }
    // Rule 10.2 (v10 on)
    for (const name of ["events", "notifications"]) {
      const value = content[name];
      if (value !== undefined && !isObjectOfIntegers(value)) return malformed("10.2", `${name} must be a dict wherein all the values are integers.`);
    }
  }
  // Rule 10.3
  const { users } = content;
  if (users === undefined) return undefined;
  if (!isJsonObject(users)) return malformed("10.3", "users must be an object");
  for (const [userId, level] of Object.entries(users)) {
    if (parseUserId(userId) === undefined) return malformed("10.3", `Not a valid user_id: ${userId}`);
    // Until v9 also what can be read as an integer
    if (version.integerPowerLevels ? !isJsonInteger(level!) : parseLevel(level) === undefined) return malformed("10.3", "Not a valid power level");
  }
  // Rule 10.4 (v12 on)
  if (version.creatorsHavePower) {
    for (const creator of creatorsOf(create)) {
      if (Object.hasOwn(users, creator)) return malformed("10.4", `Creator user ${creator} must not appear in content.users`);
    }
  }
  return undefined;
}

const isObjectOfIntegers = (value: Json): boolean => isJsonObject(value) && Object.values(value).every(isJsonInteger);

/** Rules 10.5 to 10.10: nobody gives, takes or changes what is above the own level. */
function checkChanges(event: MatrixEvent, current: MatrixEvent | undefined, levels: PowerLevels): AuthResult {
  // Rule 10.5
  if (current === undefined) return ALLOWED;
  const version = event.roomVersion;
  const own = levels.user(event.sender);
  // Rule 10.6
  for (const name of LEVEL_NAMES) {
    const result = checkChange("10.6", current.content[name], event.content[name], own);
    if (!result.allowed) return result;
  }
  // Rules 10.7 and 10.8; `notifications` from v6 on
  for (const map of version.limitNotificationPowerLevels ? ["events", "notifications"] : ["events"]) {
    for (const [, before, after] of changedEntries(current.content[map], event.content[map])) {
      const result = checkChange("10.7", before, after, own);
      if (!result.allowed) return result;
    }
  }
  // Rules 10.9 and 10.10
  for (const [userId, before, after] of changedEntries(current.content.users, event.content.users)) {
    const result = checkChange("10.10", before, after, own);
    if (!result.allowed) return result;
    const level = parseLevel(before);
    if (userId !== event.sender && level !== undefined && level >= own && level !== parseLevel(after)) {
      return refuse("10.9", "You don't have permission to remove ops level equal to your own");
    }
  }
  return ALLOWED;
}

function checkChange(rule: string, before: Json | undefined, after: Json | undefined, own: number): AuthResult {
  if (before === undefined && after === undefined) return ALLOWED;
  const old = parseLevel(before);
  const next = parseLevel(after);
  // Only room versions before 10 come here with a level that is none, in other places than `users`.
  if (after !== undefined && next === undefined) return malformed(rule, "Not a valid power level");
  if (old === next) return ALLOWED;
  if ((old !== undefined && old > own) || (next !== undefined && next > own))
    return refuse(rule, "You don't have permission to add ops level greater than your own");
  return ALLOWED;
}

function* changedEntries(before: Json | undefined, after: Json | undefined): Iterable<[key: string, before: Json | undefined, after: Json | undefined]> {
  const old = isJsonObject(before) ? before : {};
  const next = isJsonObject(after) ? after : {};
  for (const key of Object.keys(old)) yield [key, old[key], Object.hasOwn(next, key) ? next[key] : undefined];
  for (const key of Object.keys(next)) if (!Object.hasOwn(old, key)) yield [key, undefined, next[key]];
}

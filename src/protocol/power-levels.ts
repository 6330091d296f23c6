import { isJsonObject, JsonFloat, type Json, type JsonObject } from "../lib/json.ts";
import { stateKeyOf, type MatrixEvent, type StateKey } from "./event/event.ts";
import type { RoomVersion } from "./room-versions.ts";

/** Room state as far as it is known where something is judged: a Map will do. */
export interface AuthState {
  get(key: StateKey): MatrixEvent | undefined;
}

export const CREATE_KEY = stateKeyOf("m.room.create", "");
export const POWER_LEVELS_KEY = stateKeyOf("m.room.power_levels", "");
export const JOIN_RULES_KEY = stateKeyOf("m.room.join_rules", "");
export const memberKey = (userId: string): StateKey => stateKeyOf("m.room.member", userId);

/** Properties of m.room.power_levels that hold one level, with what holds where they are absent. */
export const LEVEL_DEFAULTS = { users_default: 0, events_default: 0, state_default: 50, ban: 50, redact: 50, kick: 50, invite: 0 } as const;
export type LevelName = keyof typeof LEVEL_DEFAULTS;

/**
 * The power levels in force in a room (client-server API, "m.room.power_levels"). Absent and malformed values count as their
 * defaults. Creators of room version 12 have the level Infinity.
 */
export class PowerLevels {
  private readonly content: JsonObject | undefined;
  private readonly version: RoomVersion | undefined;

  constructor(
    private readonly create: MatrixEvent | undefined,
    event: MatrixEvent | undefined,
  ) {
    this.content = event?.content;
    this.version = (create ?? event)?.roomVersion;
  }

  static of(state: AuthState): PowerLevels {
    return new PowerLevels(state.get(CREATE_KEY), state.get(POWER_LEVELS_KEY));
  }

  /** A user's level. Without a power levels event the creator has 100 and everyone else 0. */
  user(userId: string): number {
    if (this.version?.creatorsHavePower && this.create !== undefined && isCreator(this.create, userId)) return Infinity;
    if (this.content === undefined) return this.create !== undefined && creatorOf(this.create) === userId ? 100 : 0;
    return this.entry("users", userId) ?? this.level("users_default");
  }

  /** The level needed to send an event of that type. `isState`: it has a state key. */
  toSend(type: string, isState: boolean): number {
    return this.entry("events", type) ?? this.level(isState ? "state_default" : "events_default");
  }

  level(name: LevelName): number {
    return parseLevel(this.content?.[name]) ?? LEVEL_DEFAULTS[name];
  }

  /** The level needed to notify, such as by `@room`: `notifications.room`. */
  toNotify(key: string): number {
    return this.entry("notifications", key) ?? 50;
  }

  /** Users with a level of their own, creators of room version 12 among them; order without meaning. */
  *users(): IterableIterator<[userId: string, level: number]> {
    const creators = this.version?.creatorsHavePower && this.create !== undefined ? creatorsOf(this.create) : [];
    for (const creator of creators) yield [creator, Infinity];
    if (this.content === undefined) {
      const creator = creators.length === 0 && this.create !== undefined ? creatorOf(this.create) : undefined;
      if (creator !== undefined) yield [creator, 100];
      return;
    }
    for (const userId of Object.keys(isJsonObject(this.content.users) ? this.content.users : {})) {
      if (!creators.includes(userId)) yield [userId, this.user(userId)];
    }
  }

  private entry(map: "users" | "events" | "notifications", key: string): number | undefined {
    const values = this.content?.[map];
    // Types and user ids are chosen by anyone: "constructor" is no entry.
    return isJsonObject(values) && Object.hasOwn(values, key) ? parseLevel(values[key]) : undefined;
  }
}

/**
 * A level as a number, undefined when it is none. Strings that are integers, and floats, which are cut at the point, are of room
 * versions before 10 ("Deprecated event content schemas"); Synapse takes booleans for 0 and 1 too. From version 10 on the auth
 * rules let none of these in.
 */
export function parseLevel(value: Json | undefined): number | undefined {
  if (typeof value === "number") return Math.trunc(value);
  if (typeof value === "bigint" || typeof value === "boolean") return Number(value);
  if (value instanceof JsonFloat) return Math.trunc(value.value);
  return typeof value === "string" && /^\s*[+-]?\d+\s*$/.test(value) ? Number(value) : undefined;
}

/** The one creator of room versions before 12: the sender of the create event, or until version 10 what its content says. */
export function creatorOf(create: MatrixEvent): string | undefined {
  if (create.roomVersion.implicitCreator) return create.sender;
  return typeof create.content.creator === "string" ? create.content.creator : undefined;
}

/** All creators: in room version 12 the sender and the additional ones. */
export function creatorsOf(create: MatrixEvent): string[] {
  if (!create.roomVersion.creatorsHavePower) {
    const creator = creatorOf(create);
    return creator === undefined ? [] : [creator];
  }
  const additional = create.content.additional_creators;
  const others = Array.isArray(additional) ? additional.filter((id): id is string => typeof id === "string" && id !== create.sender) : [];
  return [create.sender, ...others];
}

function isCreator(create: MatrixEvent, userId: string): boolean {
  if (create.sender === userId) return true;
  const additional = create.content.additional_creators;
  return Array.isArray(additional) && additional.includes(userId);
}

import type { ConfigReader } from "../reader.ts";

/** What invited and knocking users see of a room, and whose IPs are kept (`api`). */
export type ApiConfig = ReturnType<typeof parseApi>;

/** `stateKey` undefined: all state keys of the type. */
export interface PrejoinStateType {
  readonly type: string;
  readonly stateKey: string | undefined;
}

const DEFAULT_TYPES = ["m.room.join_rules", "m.room.canonical_alias", "m.room.avatar", "m.room.encryption", "m.room.name", "m.room.create", "m.room.topic"];

export function parseApi(raw: ConfigReader) {
  return {
    prejoinState: parsePrejoinState(raw),
    trackPuppetedUserIps: raw.boolean("track_puppeted_user_ips", false),
  };
}

function parsePrejoinState(raw: ConfigReader): PrejoinStateType[] {
  const create: PrejoinStateType = { type: "m.room.create", stateKey: "" };
  const legacy = raw.optionalStrings("room_invite_state_types");
  const prejoin = raw.object("room_prejoin_state");
  const withoutDefaults = prejoin.boolean("disable_default_event_types", false);
  const additional = parseAdditional(prejoin);
  if (legacy !== undefined) {
    if (!prejoin.isEmpty) throw raw.error("room_invite_state_types", "cannot be set together with room_prejoin_state");
    return [create, ...legacy.map((type) => ({ type, stateKey: undefined }))];
  }
  const defaults = withoutDefaults ? [] : DEFAULT_TYPES.filter((type) => type !== create.type).map((type) => ({ type, stateKey: "" }));
  return [create, ...defaults, ...additional];
}

function parseAdditional(prejoin: ConfigReader): PrejoinStateType[] {
  const entries = prejoin.raw("additional_event_types") ?? [];
  const wanted = "a list of event types or of pairs [event type, state key]";
  if (!Array.isArray(entries)) throw prejoin.wrong("additional_event_types", wanted);
  return entries.map((entry: unknown) => {
    if (typeof entry === "string") return { type: entry, stateKey: undefined };
    if (Array.isArray(entry) && entry.length === 2 && entry.every((part) => typeof part === "string")) {
      return { type: entry[0] as string, stateKey: entry[1] as string };
    }
    throw prejoin.wrong("additional_event_types", wanted);
  });
}

import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import type { RoomVersion } from "../room-versions.ts";
import { MatrixEvent } from "./event.ts";

/** Keys that every room version keeps. */
const KEPT = [
  "event_id",
  "type",
  "room_id",
  "sender",
  "state_key",
  "content",
  "hashes",
  "signatures",
  "depth",
  "prev_events",
  "auth_events",
  "origin_server_ts",
];
/** Room versions before 11 keep these too. */
const KEPT_BEFORE_11 = ["prev_state", "origin", "membership"];

const KEEP_OLD: ReadonlySet<string> = new Set([...KEPT, ...KEPT_BEFORE_11]);
const KEEP_11: ReadonlySet<string> = new Set(KEPT);
const KEEP_STATE_DAG: ReadonlySet<string> = new Set([...KEPT.filter((key) => key !== "auth_events"), "prev_state_events"]);

/** What redaction leaves of `unsigned`: what this server itself put there. It is no part of any hash. */
const KEPT_UNSIGNED = ["age_ts", "replaces_state"];

/** A PDU as redaction leaves it in that room version (room version specifications, "Redactions"). The argument is not changed. */
export function redactJson(json: JsonObject, version: RoomVersion): JsonObject {
  const keep = version.stateDag ? KEEP_STATE_DAG : version.updatedRedaction ? KEEP_11 : KEEP_OLD;
  // v12: the create event names no room, so a room_id there is none of its keys.
  const dropRoomId = version.roomIdIsCreateHash && json.type === "m.room.create";
  const out: JsonObject = {};
  for (const key of Object.keys(json)) {
    if (keep.has(key) && !(dropRoomId && key === "room_id")) out[key] = json[key];
  }
  out.content = redactContent(json, version);
  if (isJsonObject(json.unsigned)) out.unsigned = pick(json.unsigned, KEPT_UNSIGNED);
  return out;
}

function redactContent(json: JsonObject, version: RoomVersion): JsonObject {
  const content = json.content;
  if (!isJsonObject(content)) return {};
  const out = redactContentByType(json.type, content, version);
  // MSC3389
  if (version.relationRedactions && isJsonObject(content["m.relates_to"])) {
    const relation = pick(content["m.relates_to"], ["rel_type", "event_id"]);
    if (Object.keys(relation).length > 0) out["m.relates_to"] = relation;
  }
  return out;
}

function redactContentByType(type: Json | undefined, content: JsonObject, version: RoomVersion): JsonObject {
  switch (type) {
    case "m.room.member": {
      const out = pick(content, version.restrictedJoinRedactionFix ? ["membership", "join_authorised_via_users_server"] : ["membership"]);
      const invite = content.third_party_invite;
      if (version.updatedRedaction && isJsonObject(invite)) out.third_party_invite = pick(invite, ["signed"]);
      return out;
    }
    case "m.room.create":
      return version.updatedRedaction ? { ...content } : pick(content, ["creator"]);
    case "m.room.join_rules":
      return pick(content, version.restrictedJoins ? ["join_rule", "allow"] : ["join_rule"]);
    case "m.room.power_levels":
      return pick(content, version.updatedRedaction ? POWER_LEVEL_KEYS_11 : POWER_LEVEL_KEYS);
    case "m.room.aliases":
      return version.specialAliases ? pick(content, ["aliases"]) : {};
    case "m.room.history_visibility":
      return pick(content, ["history_visibility"]);
    case "m.room.redaction":
      return version.updatedRedaction ? pick(content, ["redacts"]) : {};
    default:
      return {};
  }
}

const POWER_LEVEL_KEYS = ["users", "users_default", "events", "events_default", "state_default", "ban", "kick", "redact"];
const POWER_LEVEL_KEYS_11 = [...POWER_LEVEL_KEYS, "invite"];

function pick(from: JsonObject, keys: readonly string[]): JsonObject {
  const out: JsonObject = {};
  for (const key of keys) if (Object.hasOwn(from, key)) out[key] = from[key];
  return out;
}

/** The event with its body pruned; id, position, rejection and metadata stay. `because` is the redaction, when it is known. */
export function redactEvent(event: MatrixEvent, because?: MatrixEvent): MatrixEvent {
  const out = new MatrixEvent(redactJson(event.json, event.roomVersion), event.roomVersion, event.eventId, event.internal);
  out.streamOrdering = event.streamOrdering;
  out.outlier = event.outlier;
  out.rejectedReason = event.rejectedReason;
  out.redactedBecause = because ?? event.redactedBecause;
  return out;
}

import type { Json, JsonObject } from "../../lib/json.ts";
import type { PushAction, PushRule, RuleKind } from "./rules.ts";

/**
 * The rules that every user has (client-server API, "Predefined Rules"), with those of the MSCs that Synapse 1.160 knows. Values that
 * stand for the user are written `pattern_type` and `value_type`, and replaced when they are matched or shown.
 */
const NOTIFY = "notify";
const HIGHLIGHT: JsonObject = { set_tweak: "highlight" };
const NO_HIGHLIGHT: JsonObject = { set_tweak: "highlight", value: false };
const SOUND: JsonObject = { set_tweak: "sound", value: "default" };
const RING: JsonObject = { set_tweak: "sound", value: "ring" };

const matches = (key: string, pattern: string): JsonObject => ({ kind: "event_match", key, pattern });
const isType = (type: string): JsonObject => matches("type", type);
const isEmptyStateKey = matches("state_key", "");
const isOneToOne: JsonObject = { kind: "room_member_count", is: "2" };
const maySayRoom: JsonObject = { kind: "sender_notification_permission", key: "room" };
/** MSC3931 */
const isExtensible: JsonObject = { kind: "org.matrix.msc3931.room_version_supports", feature: "org.matrix.msc3932.extensible_events" };

function rule(kind: RuleKind, id: string, conditions: readonly Json[], actions: readonly PushAction[], enabledByDefault = true): PushRule {
  return { ruleId: `global/${kind}/${id}`, kind, conditions, actions, isDefault: true, enabledByDefault };
}

/** Before the user's override rules. */
export const BEFORE_OVERRIDE: readonly PushRule[] = [rule("override", ".m.rule.master", [], [], false)];

/** After the user's override rules. */
export const AFTER_OVERRIDE: readonly PushRule[] = [
  rule("override", ".org.matrix.msc4028.encrypted_event", [isType("m.room.encrypted")], [NOTIFY]),
  rule("override", ".m.rule.suppress_notices", [matches("content.msgtype", "m.notice")], []),
  rule(
    "override",
    ".m.rule.invite_for_me",
    [isType("m.room.member"), matches("content.membership", "invite"), { kind: "event_match", key: "state_key", pattern_type: "user_id" }],
    [NOTIFY, NO_HIGHLIGHT, SOUND],
  ),
  rule("override", ".m.rule.member_event", [isType("m.room.member")], []),
  rule(
    "override",
    ".im.nheko.msc3664.reply",
    [{ kind: "im.nheko.msc3664.related_event_match", key: "sender", pattern_type: "user_id", rel_type: "m.in_reply_to" }],
    [NOTIFY, HIGHLIGHT, SOUND],
  ),
  rule(
    "override",
    ".m.rule.is_user_mention",
    [{ kind: "event_property_contains", key: "content.m\\.mentions.user_ids", value_type: "user_id" }],
    [NOTIFY, HIGHLIGHT, SOUND],
  ),
  rule("override", ".m.rule.contains_display_name", [{ kind: "contains_display_name" }], [NOTIFY, HIGHLIGHT, SOUND]),
  rule("override", ".m.rule.is_room_mention", [{ kind: "event_property_is", key: "content.m\\.mentions.room", value: true }, maySayRoom], [NOTIFY, HIGHLIGHT]),
  rule("override", ".m.rule.roomnotif", [maySayRoom, matches("content.body", "@room")], [NOTIFY, HIGHLIGHT]),
  rule("override", ".m.rule.tombstone", [isType("m.room.tombstone"), isEmptyStateKey], [NOTIFY, HIGHLIGHT]),
  rule("override", ".m.rule.reaction", [isType("m.reaction")], []),
  rule("override", ".m.rule.room.server_acl", [isType("m.room.server_acl"), isEmptyStateKey], []),
  rule("override", ".m.rule.suppress_edits", [{ kind: "event_property_is", key: "content.m\\.relates_to.rel_type", value: "m.replace" }], []),
  rule("override", ".org.matrix.msc3930.rule.poll_response", [isType("org.matrix.msc3381.poll.response")], []),
];

/** After the user's content rules. */
export const AFTER_CONTENT: readonly PushRule[] = [
  rule("content", ".m.rule.contains_user_name", [{ kind: "event_match", key: "content.body", pattern_type: "user_localpart" }], [NOTIFY, HIGHLIGHT, SOUND]),
  // MSC4306
  rule("postcontent", ".io.element.msc4306.rule.unsubscribed_thread", [{ kind: "io.element.msc4306.thread_subscription", subscribed: false }], []),
  rule("postcontent", ".io.element.msc4306.rule.subscribed_thread", [{ kind: "io.element.msc4306.thread_subscription", subscribed: true }], [NOTIFY, SOUND]),
];

/** MSC3933: rules for extensible events beside those for the old types. */
const EXTENSIBLE_TYPES = ["encrypted", "message", "file", "image", "video", "audio"];
const extensibleOneToOne = EXTENSIBLE_TYPES.map((type) =>
  rule(
    "underride",
    `.org.matrix.msc3933.rule.extensible.${type === "encrypted" ? "encrypted_room_one_to_one" : `${type}.room_one_to_one`}`,
    [isType(`org.matrix.msc1767.${type}`), isOneToOne, isExtensible],
    [NOTIFY, SOUND, NO_HIGHLIGHT],
  ),
);
const extensible = EXTENSIBLE_TYPES.map((type) =>
  rule("underride", `.org.matrix.msc1767.rule.extensible.${type}`, [isType(`m.${type}`), isExtensible], [NOTIFY, NO_HIGHLIGHT]),
);

/** After the user's underride rules. */
export const AFTER_UNDERRIDE: readonly PushRule[] = [
  rule("underride", ".m.rule.call", [isType("m.call.invite")], [NOTIFY, RING, NO_HIGHLIGHT]),
  rule("underride", ".m.rule.encrypted_room_one_to_one", [isType("m.room.encrypted"), isOneToOne], [NOTIFY, SOUND, NO_HIGHLIGHT]),
  rule("underride", ".m.rule.room_one_to_one", [isType("m.room.message"), isOneToOne], [NOTIFY, SOUND, NO_HIGHLIGHT]),
  ...extensibleOneToOne,
  rule("underride", ".m.rule.message", [isType("m.room.message")], [NOTIFY, NO_HIGHLIGHT]),
  rule("underride", ".m.rule.encrypted", [isType("m.room.encrypted")], [NOTIFY, NO_HIGHLIGHT]),
  ...extensible,
  rule(
    "underride",
    ".im.vector.jitsi",
    [isType("im.vector.modular.widgets"), matches("content.type", "jitsi"), matches("state_key", "*")],
    [NOTIFY, NO_HIGHLIGHT],
  ),
  // MSC3930
  rule("underride", ".org.matrix.msc3930.rule.poll_start_one_to_one", [isOneToOne, isType("org.matrix.msc3381.poll.start")], [NOTIFY, SOUND]),
  rule("underride", ".org.matrix.msc3930.rule.poll_start", [isType("org.matrix.msc3381.poll.start")], [NOTIFY]),
  rule("underride", ".org.matrix.msc3930.rule.poll_end_one_to_one", [isOneToOne, isType("org.matrix.msc3381.poll.end")], [NOTIFY, SOUND]),
  rule("underride", ".org.matrix.msc3930.rule.poll_end", [isType("org.matrix.msc3381.poll.end")], [NOTIFY]),
];

const BY_ID: ReadonlyMap<string, PushRule> = new Map(
  [...BEFORE_OVERRIDE, ...AFTER_OVERRIDE, ...AFTER_CONTENT, ...AFTER_UNDERRIDE].map((each) => [each.ruleId, each]),
);

/** The rule of that full id that every user has; undefined when it is a user's own. */
export function baseRule(ruleId: string): PushRule | undefined {
  return BY_ID.get(ruleId);
}

/** Experimental options that bring rules with them, or take them away. */
export interface PushFeatures {
  /** Extensible events. */
  readonly msc1767: boolean;
  /** Polls. */
  readonly msc3381Polls: boolean;
  /** Rules on related events. */
  readonly msc3664: boolean;
  /** Every encrypted event notifies. */
  readonly msc4028: boolean;
  /** No mentions by text. */
  readonly msc4210: boolean;
  /** Thread subscriptions. */
  readonly msc4306: boolean;
}

export const NO_PUSH_FEATURES: PushFeatures = { msc1767: false, msc3381Polls: false, msc3664: false, msc4028: false, msc4210: false, msc4306: false };

/** Rules that find mentions in the text; events that say themselves whom they mention are not searched. */
export const LEGACY_MENTION_RULES: ReadonlySet<string> = new Set([
  "global/override/.m.rule.contains_display_name",
  "global/content/.m.rule.contains_user_name",
  "global/override/.m.rule.roomnotif",
]);

/** False for the rules of options that are off. */
export function isRuleOffered(ruleId: string, features: PushFeatures): boolean {
  if (!features.msc1767 && (ruleId.includes("org.matrix.msc1767") || ruleId.includes("org.matrix.msc3933"))) return false;
  if (!features.msc3664 && ruleId === "global/override/.im.nheko.msc3664.reply") return false;
  if (!features.msc3381Polls && ruleId.includes("org.matrix.msc3930")) return false;
  if (!features.msc4028 && ruleId === "global/override/.org.matrix.msc4028.encrypted_event") return false;
  if (features.msc4210 && LEGACY_MENTION_RULES.has(ruleId)) return false;
  return features.msc4306 || !ruleId.includes("/.io.element.msc4306.rule.");
}

import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import { compileGlob, compileWordGlob, compileWords, type Glob } from "../glob.ts";
import { localpartOf } from "../ids.ts";
import { lookUp, type PushEvent, type SimpleValue } from "./push-event.ts";
import type { PushFeatures } from "./base-rules.ts";

/** For whom a rule is judged. */
export interface PushUser {
  readonly userId: string;
  /** In the room; undefined or "" matches no text. */
  readonly displayName?: string | undefined;
  /** MSC4306: whether the user subscribes to the event's thread; undefined outside of threads. */
  readonly threadSubscription?: boolean | undefined;
}

export type Condition = (event: PushEvent, user: PushUser) => boolean;

const NEVER: Condition = () => false;

/** A condition ready to be asked (client-server API, "Conditions for push rules"). Unknown and malformed ones never match. */
export function compileCondition(condition: Json, features: PushFeatures): Condition {
  if (!isJsonObject(condition)) return NEVER;
  switch (condition.kind) {
    case "event_match":
      return eventMatch(condition);
    case "event_property_is":
      return propertyIs(condition);
    case "event_property_contains":
      return propertyContains(condition);
    case "contains_display_name":
      return containsDisplayName;
    case "room_member_count":
      return memberCount(condition);
    case "sender_notification_permission":
      return senderPermission(condition);
    case "im.nheko.msc3664.related_event_match":
      return features.msc3664 ? relatedEventMatch(condition) : NEVER;
    case "org.matrix.msc3931.room_version_supports":
      return features.msc1767 && condition.feature === "org.matrix.msc3932.extensible_events" ? (event) => event.isExtensibleRoom : NEVER;
    case "io.element.msc4306.thread_subscription":
      return features.msc4306 && typeof condition.subscribed === "boolean" ? (_event, user) => user.threadSubscription === condition.subscribed : NEVER;
    default:
      return NEVER;
  }
}

type TextTest = (text: string, user: PushUser) => boolean;

function eventMatch(condition: JsonObject): Condition {
  const { key } = condition;
  if (typeof key !== "string") return NEVER;
  const test = textTest(key, condition);
  if (test === undefined) return NEVER;
  return (event, user) => {
    const value = event.get(key);
    return typeof value === "string" && test(value, user);
  };
}

/** `pattern`, or in base rules the user that `pattern_type` stands for. The body is matched by words, all else as a whole. */
function textTest(key: string, condition: JsonObject): TextTest | undefined {
  const compile = key === "content.body" ? compileWordGlob : compileGlob;
  if (typeof condition.pattern === "string") {
    const glob: Glob = compile(condition.pattern);
    return (text) => glob.matches(text);
  }
  const standIn = userValue(condition.pattern_type);
  if (standIn === undefined) return undefined;
  // A user id is no pattern, even where its characters are those of one.
  return key === "content.body"
    ? (text, user) => compileWords(standIn(user)).matches(text)
    : (text, user) => text.toLowerCase() === standIn(user).toLowerCase();
}

function userValue(type: Json | undefined): ((user: PushUser) => string) | undefined {
  if (type === "user_id") return (user) => user.userId;
  return type === "user_localpart" ? (user) => localpartOf(user.userId) : undefined;
}

const isSimpleValue = (value: Json | undefined): value is SimpleValue => value === null || (value !== undefined && typeof value !== "object");

function propertyIs({ key, value }: JsonObject): Condition {
  return typeof key === "string" && isSimpleValue(value) ? (event) => event.get(key) === value : NEVER;
}

function propertyContains({ key, value, value_type }: JsonObject): Condition {
  if (typeof key !== "string") return NEVER;
  const standIn = userValue(value_type);
  if (standIn === undefined && !isSimpleValue(value)) return NEVER;
  return (event, user) => {
    const list = event.get(key);
    return Array.isArray(list) && list.includes((standIn?.(user) ?? value) as SimpleValue);
  };
}

const containsDisplayName: Condition = (event, { displayName }) =>
  displayName !== undefined && displayName !== "" && event.body !== "" && compileWords(displayName).matches(event.body);

function memberCount({ is }: JsonObject): Condition {
  const match = typeof is === "string" ? /^(==|<|>|<=|>=|)(\d{1,15})$/.exec(is) : null;
  if (match === null) return NEVER;
  const bound = Number(match[2]);
  switch (match[1]) {
    case "<":
      return (event) => event.facts.memberCount < bound;
    case ">":
      return (event) => event.facts.memberCount > bound;
    case "<=":
      return (event) => event.facts.memberCount <= bound;
    case ">=":
      return (event) => event.facts.memberCount >= bound;
    default:
      return (event) => event.facts.memberCount === bound;
  }
}

function senderPermission({ key }: JsonObject): Condition {
  if (typeof key !== "string") return NEVER;
  return ({ event, facts: { levels } }) => levels !== undefined && levels.user(event.sender) >= levels.toNotify(key);
}

function relatedEventMatch(condition: JsonObject): Condition {
  const { rel_type, key, include_fallbacks } = condition;
  if (typeof rel_type !== "string" || (key !== undefined && typeof key !== "string")) return NEVER;
  const test = key === undefined ? undefined : textTest(key, condition);
  return (event, user) => {
    const related = event.facts.related?.get(rel_type);
    if (related === undefined || (related.isFallback && include_fallbacks !== true)) return false;
    if (key === undefined) return true;
    const value = lookUp(related.event.json, key);
    return test !== undefined && typeof value === "string" && test(value, user);
  };
}

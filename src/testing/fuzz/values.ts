import type { Dice } from "./dice.ts";
import { event, type Material, room } from "./bodies.ts";

/** A fitting value for a path parameter of that name. */
export function pathValue(name: string, m: Material): string {
  const { dice, pool } = m;
  switch (name) {
    case "roomId":
      return (m.roomId = pool.pick("room_id") ?? "!none:test");
    case "roomIdentifier":
      return pool.pick("room_id", "alias") ?? "#none:test";
    case "roomAlias":
      return pool.pick("alias", "room_alias") ?? `#alias${dice.below(50)}:${m.userId.slice(m.userId.indexOf(":") + 1)}`;
    case "eventId":
    case "rootId":
    case "parentId":
      return event(m);
    case "userId":
      return dice.chance(0.6) ? m.userId : (pool.pick("user_id") ?? m.userId);
    case "targetUserId":
      return pool.pick("user_id") ?? m.userId;
    case "txnId":
    case "transactionId":
      return `t${dice.below(5000)}`;
    case "mediaId":
      return (dice.chance(0.5) ? pool.pick("content_uri")?.split("/").at(-1) : undefined) ?? pool.pick("media_id", "announced_media") ?? "none";
    case "serverName":
    case "destination":
      return dice.pick([m.userId.slice(m.userId.indexOf(":") + 1), m.peer, m.peer]);
    case "eventType":
      return dice.pick(EVENT_TYPES);
    case "stateKey":
      return dice.chance(0.6) ? "" : m.userId;
    case "type":
      return dice.pick([
        "m.direct",
        "m.ignored_user_list",
        "m.push_rules",
        "m.fully_read",
        "com.example.data",
        "m.org.matrix.msc4155.invite_permission_config",
      ]);
    case "tag":
      return dice.pick(["m.favourite", "u.work", "x"]);
    case "fieldName":
      return dice.pick(["displayname", "avatar_url", "m.tz", "com.example.field"]);
    case "version":
      return pool.pick("version") ?? "1";
    case "deviceId":
      return dice.chance(0.4) ? m.deviceId : (pool.pick("device_id") ?? "D");
    case "relationType":
      return dice.pick(["m.thread", "m.annotation", "m.replace"]);
    case "receiptType":
      return dice.pick(["m.read", "m.read.private", "m.fully_read"]);
    case "stagetype":
      return dice.pick(["m.login.dummy", "m.login.recaptcha", "m.login.terms", "m.login.registration_token", "m.login.email.identity"]);
    case "path":
      return dice.pick([
        "global/override/.m.rule.master/enabled",
        "global/content/mine",
        "global/underride/x/actions",
        "global/",
        "",
        "global/sender/@a:b",
        "global/room/!a:b",
      ]);
    case "filterId":
      return pool.pick("filter_id") ?? "0";
    case "delayId":
      return pool.pick("delay_id") ?? "none";
    case "token":
      return pool.pick("token") ?? "none";
    case "protocol":
    case "networkId":
      return dice.pick(["irc", "gitter"]);
    case "appserviceId":
      return "bridge";
    case "keyId":
      return "ed25519:a_fed";
    case "queryType":
      return dice.pick(["profile", "directory", "client_versions"]);
    case "medium":
      return dice.pick(["email", "msisdn"]);
    case "address":
      return "a@example.org";
    default:
      return pool.pick("id", "delete_id", "purge_id", "redact_id", "url") ?? String(dice.below(9));
  }
}

/** A fitting value for a query parameter of that name. */
export function queryValue(name: string, m: Material): string {
  const { dice, pool } = m;
  switch (name) {
    case "from":
    case "to":
    case "since":
    case "pos":
    case "at":
    case "next_batch":
    case "before":
    case "after":
      return pool.pick("next_batch", "prev_batch", "pos", "start", "end", "next_token") ?? "0";
    case "limit":
    case "max_depth":
    case "ts":
    case "from_ts":
    case "until_ts":
    case "before_ts":
    case "size_gt":
      return dice.pick(["0", "1", "5", "100", "1000000000000"]);
    case "timeout":
    case "timeout_ms":
      return dice.pick(["0", "1", "10"]);
    case "dir":
      return dice.pick(["f", "b"]);
    case "user_id":
    case "target_user_id":
    case "mxid":
    case "event_sender_user_id":
      return pool.pick("user_id") ?? m.userId;
    case "room_id":
      return room(m);
    case "event_id":
      return event(m);
    case "room_alias":
      return pool.pick("alias", "room_alias") ?? "#none:test";
    case "device_id":
      return m.deviceId;
    case "filter":
      return dice.pick([pool.pick("filter_id") ?? "0", '{"room":{"timeline":{"limit":2}}}', '{"lazy_load_members":true,"types":["m.room.message"]}']);
    case "order_by":
      return dice.pick(["name", "size", "creation_ts", "displayname", "media_count", "joined_members", "alphabetical", "destination", "last_seen_ts"]);
    case "method":
      return dice.pick(["crop", "scale"]);
    case "width":
    case "height":
      return dice.pick(["1", "32", "96", "640", "100000"]);
    case "url":
      return dice.pick(["http://127.0.0.1:1/", `https://${m.peer}/page`, "http://[::1]/", "ftp://a/"]);
    case "membership":
    case "not_membership":
      return dice.pick(["join", "leave", "ban", "invite"]);
    case "set_presence":
      return dice.pick(["online", "offline", "unavailable"]);
    case "token":
      return pool.pick("mail_token", "token") ?? "none";
    case "sid":
      return pool.pick("sid") ?? "none";
    case "client_secret":
      return "secret";
    case "org.matrix.msc4140.delay":
      return dice.pick(["1", "60000"]);
    case "version":
      return pool.pick("version") ?? "1";
    case "ver":
    case "v":
      return dice.pick(["1", "6", "10", "11", "12"]);
    case "via":
    case "server_name":
    case "destination":
      return m.peer;
    case "field":
      return dice.pick(["displayname", "avatar_url"]);
    case "kind":
      return dice.pick(["guest", "user"]);
    case "access_token":
      return "x";
    default:
      return booleanish(dice);
  }
}

const booleanish = (dice: Dice): string => dice.pick(["true", "false", "true", "false", "name", "1"]);

const EVENT_TYPES = [
  "m.room.message",
  "m.room.encrypted",
  "m.room.name",
  "m.room.topic",
  "m.room.member",
  "m.room.power_levels",
  "m.room.join_rules",
  "m.room.history_visibility",
  "m.room.guest_access",
  "m.room.canonical_alias",
  "m.room.server_acl",
  "m.room.encryption",
  "m.room.tombstone",
  "m.room.create",
  "m.room.redaction",
  "m.room.third_party_invite",
  "m.room.retention",
  "m.room.pinned_events",
  "m.space.child",
  "m.reaction",
  "m.policy.rule.user",
  "com.example.x",
];

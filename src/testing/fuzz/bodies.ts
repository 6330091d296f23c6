import type { JsonObject } from "../../lib/json.ts";
import type { Dice } from "./dice.ts";
import { eventsOf, type Pool } from "./pool.ts";

/** What sample bodies are made from. */
export interface Material {
  readonly dice: Dice;
  readonly pool: Pool;
  readonly password: string;
  /** A name of another server that answers. */
  readonly peer: string;
  /** The user in whose name the request goes out. */
  readonly userId: string;
  readonly deviceId: string;
  /** The room that the request is about, when it is about one. */
  roomId?: string;
}

type Sample = (m: Material) => JsonObject;

export const room = (m: Material): string => (m.dice.chance(0.7) ? m.roomId : undefined) ?? m.pool.pick("room_id") ?? "!none:test";
/** Mostly one of the room that the request is about. */
export const event = (m: Material): string =>
  (m.roomId !== undefined && m.dice.chance(0.85) ? m.pool.pick(eventsOf(m.roomId)) : undefined) ?? m.pool.pick("event_id") ?? "$none";
const user = (m: Material): string => m.pool.pick("user_id") ?? m.userId;
const words = (m: Material): string => m.dice.pick(["hello", "本日は晴天なり", "a b c", "alice bob", "*", "%"]);
const fresh = (m: Material): string => `n${m.dice.below(1_000_000)}`;

const auth = (m: Material): JsonObject =>
  m.dice.pick<JsonObject>([
    { type: "m.login.password", identifier: { type: "m.id.user", user: m.userId }, password: m.password, session: m.pool.pick("session") ?? "" },
    { type: "m.login.password", user: m.userId, password: m.password },
    { type: "m.login.dummy", session: m.pool.pick("session") ?? "x" },
    { type: "m.login.registration_token", token: m.pool.pick("token") ?? "x", session: m.pool.pick("session") ?? "x" },
    { type: "m.login.email.identity", threepid_creds: { sid: "1", client_secret: "secret" }, session: m.pool.pick("session") ?? "x" },
    { session: m.pool.pick("session") ?? "x" },
  ]);

const deviceKeys = (m: Material): JsonObject => ({
  user_id: m.userId,
  device_id: m.deviceId,
  algorithms: ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
  keys: { [`ed25519:${m.deviceId}`]: "a".repeat(43), [`curve25519:${m.deviceId}`]: "b".repeat(43) },
  signatures: { [m.userId]: { [`ed25519:${m.deviceId}`]: "c".repeat(86) } },
});
const crossSigningKey = (m: Material, usage: string): JsonObject => ({
  user_id: m.userId,
  usage: [usage],
  keys: { [`ed25519:${"d".repeat(43)}`]: "d".repeat(43) },
  signatures: { [m.userId]: { [`ed25519:${m.deviceId}`]: "e".repeat(86) } },
});
const message: Sample = (m) => ({
  msgtype: "m.text",
  body: words(m),
  "m.relates_to": m.dice.pick<JsonObject>([
    { rel_type: "m.thread", event_id: event(m) },
    { rel_type: "m.replace", event_id: event(m) },
    { rel_type: "m.annotation", event_id: event(m), key: "👍" },
    { "m.in_reply_to": { event_id: event(m) } },
  ]),
  "m.mentions": { user_ids: [user(m)], room: true },
  "m.new_content": { body: "x", msgtype: "m.text" },
});
const stateContent: Sample = (m) =>
  m.dice.pick<JsonObject>([
    { membership: "join", displayname: "X", avatar_url: "mxc://a/b", join_authorised_via_users_server: user(m) },
    { users: { [user(m)]: 100 }, events: { "m.room.name": 50 }, state_default: 50, notifications: { room: 50 } },
    { name: "x", topic: "y", "m.topic": { "m.text": [{ body: "z" }] }, alias: "#a:test", alt_aliases: ["#a:test"] },
    { join_rule: "restricted", allow: [{ type: "m.room_membership", room_id: room(m) }] },
    { history_visibility: "joined", guest_access: "can_join" },
    { via: ["test"], order: "a", suggested: true, canonical: true },
    { allow: ["*"], deny: ["bad.example"], allow_ip_literals: false },
    { algorithm: "m.megolm.v1.aes-sha2", rotation_period_ms: 1, rotation_period_msgs: 1 },
    { max_lifetime: 1000, min_lifetime: 1 },
    { replacement_room: room(m), body: "gone" },
    { pinned: [event(m)] },
    {},
  ]);
const publicRooms: Sample = (m) => ({
  limit: m.dice.below(20),
  since: m.pool.pick("next_batch") ?? "",
  filter: { generic_search_term: words(m), room_types: [null, "m.space"] },
  include_all_networks: false,
  third_party_instance_id: "irc",
});
const threepidRequest: Sample = (m) => ({
  email: `${fresh(m)}@example.org`,
  client_secret: "secret",
  send_attempt: 1,
  next_link: "https://app.example.org/",
  id_server: m.peer,
  id_access_token: "t",
  country: "GB",
  phone_number: "07700900001",
});
const sessionData = (): JsonObject => ({
  first_message_index: 1,
  forwarded_count: 0,
  is_verified: true,
  session_data: { ephemeral: "a", ciphertext: "b", mac: "c" },
});
const pdu = (m: Material, fields: JsonObject = {}): JsonObject => ({
  room_id: room(m),
  sender: `@mallory:${m.peer}`,
  origin: m.peer,
  origin_server_ts: 1,
  type: "m.room.message",
  content: message(m),
  depth: 5,
  prev_events: [event(m)],
  auth_events: [event(m)],
  hashes: { sha256: "a".repeat(43) },
  signatures: { [m.peer]: { "ed25519:peer": "a".repeat(86) } },
  unsigned: { invite_room_state: [{ type: "m.room.name", state_key: "", sender: `@mallory:${m.peer}`, content: { name: "x" } }] },
  ...fields,
});
const memberPdu =
  (membership: string): Sample =>
  (m) =>
    pdu(m, { type: "m.room.member", state_key: membership === "invite" ? user(m) : `@mallory:${m.peer}`, content: { membership } });
const invite = (m: Material): JsonObject => ({ room_version: m.dice.pick(["1", "6", "11", "12"]), event: memberPdu("invite")(m), invite_room_state: [] });
const edu = (m: Material): JsonObject =>
  m.dice.pick<JsonObject>([
    { edu_type: "m.typing", content: { room_id: room(m), user_id: `@mallory:${m.peer}`, typing: true } },
    { edu_type: "m.receipt", content: { [room(m)]: { "m.read": { [`@mallory:${m.peer}`]: { event_ids: [event(m)], data: { ts: 1, thread_id: "main" } } } } } },
    { edu_type: "m.presence", content: { push: [{ user_id: `@mallory:${m.peer}`, presence: "online", last_active_ago: 1, status_msg: "x" }] } },
    {
      edu_type: "m.direct_to_device",
      content: { sender: `@mallory:${m.peer}`, type: "m.x", message_id: fresh(m), messages: { [user(m)]: { "*": { a: 1 } } } },
    },
    {
      edu_type: "m.device_list_update",
      content: { user_id: `@mallory:${m.peer}`, device_id: "D", stream_id: 5, prev_id: [4], keys: deviceKeys(m), deleted: false },
    },
    { edu_type: "m.signing_key_update", content: { user_id: `@mallory:${m.peer}`, master_key: crossSigningKey(m, "master") } },
  ]);

/** A body for each servlet that takes one, as its users send it. Those that stand here by no name get `{}`, or what their schema says. */
export const BODIES: Readonly<Record<string, Sample>> = {
  LoginRestServlet: (m) =>
    m.dice.pick<JsonObject>([
      {
        type: "m.login.password",
        identifier: { type: "m.id.user", user: m.userId },
        password: m.password,
        device_id: fresh(m),
        initial_device_display_name: "x",
        refresh_token: true,
      },
      { type: "m.login.password", medium: "email", address: "a@b.example", password: "x" },
      { type: "m.login.password", identifier: { type: "m.id.phone", country: "GB", phone: "07700900001" }, password: "x", refresh_token: true },
      { type: "m.login.token", token: m.pool.pick("login_token") ?? "x" },
      { type: "m.login.application_service", identifier: { type: "m.id.user", user: m.userId } },
      { type: "org.matrix.login.jwt", token: "a.b.c" },
    ]),
  RefreshTokenServlet: (m) => ({ refresh_token: m.pool.pick("refresh_token") ?? "x" }),
  RegisterRestServlet: (m) => ({
    username: fresh(m),
    password: "p",
    auth: auth(m),
    device_id: "D",
    initial_device_display_name: "x",
    inhibit_login: false,
    refresh_token: true,
  }),
  UserRegisterServlet: (m) => ({ nonce: "x", username: fresh(m), password: "p", admin: false, mac: "0".repeat(40), displayname: "x", user_type: "bot" }),
  PasswordRestServlet: (m) => ({ auth: auth(m), new_password: m.password, logout_devices: false }),
  DeactivateAccountRestServlet: (m) => ({ auth: { type: "m.login.password", password: "wrong", user: m.userId }, erase: false, id_server: m.peer }),
  ThreepidRestServlet: () => ({ three_pid_creds: { client_secret: "secret", sid: "1", id_server: "x" }, bind: true }),
  ThreepidAddRestServlet: (m) => ({ client_secret: "secret", sid: m.pool.pick("sid") ?? "1", auth: auth(m) }),
  ThreepidBindRestServlet: (m) => ({ client_secret: "secret", sid: "1", id_server: m.peer, id_access_token: "t" }),
  ThreepidUnbindRestServlet: (m) => ({ medium: "email", address: "a@example.org", id_server: m.peer }),
  ThreepidDeleteRestServlet: () => ({ medium: "email", address: "a@example.org" }),
  AddThreepidMsisdnSubmitTokenServlet: () => ({ client_secret: "secret", sid: "1", token: "1" }),
  EmailThreepidRequestTokenRestServlet: threepidRequest,
  EmailPasswordRequestTokenRestServlet: threepidRequest,
  EmailRegisterRequestTokenRestServlet: threepidRequest,
  MsisdnThreepidRequestTokenRestServlet: threepidRequest,
  MsisdnPasswordRequestTokenRestServlet: threepidRequest,
  MsisdnRegisterRequestTokenRestServlet: threepidRequest,
  AccountStatusRestServlet: (m) => ({ user_ids: [user(m), `@x:${m.peer}`] }),
  LoginTokenRequestServlet: (m) => ({ auth: auth(m) }),
  DeviceRestServlet: (m) => ({ display_name: "x", auth: auth(m) }),
  DeleteDevicesRestServlet: (m) => ({ devices: [m.pool.pick("device_id") ?? "D"], auth: auth(m) }),
  ProfileFieldRestServlet: () => ({ displayname: "New name", avatar_url: "mxc://a/b", "m.tz": "Europe/London", "com.example.field": { a: [1] } }),
  UnstableProfileFieldRestServlet: () => ({ displayname: "New name", avatar_url: "mxc://a/b", "m.tz": "Europe/London", "com.example.field": { a: [1] } }),
  RoomCreateRestServlet: (m) => ({
    name: "n",
    topic: "t",
    preset: m.dice.pick(["public_chat", "private_chat", "trusted_private_chat"]),
    visibility: m.dice.pick(["public", "private"]),
    room_version: m.dice.pick(["1", "3", "6", "9", "10", "11", "12"]),
    room_alias_name: fresh(m),
    invite: [user(m)],
    invite_3pid: [{ id_server: m.peer, id_access_token: "t", medium: "email", address: "a@example.org" }],
    initial_state: [{ type: "m.room.history_visibility", state_key: "", content: { history_visibility: "shared" } }],
    creation_content: { "m.federate": true, type: "m.space", predecessor: { room_id: room(m), event_id: event(m) } },
    power_level_content_override: { users: { [m.userId]: 100 }, events_default: 0 },
    is_direct: true,
  }),
  JoinRoomAliasServlet: (m) => ({ reason: "x", third_party_signed: { mxid: m.userId, sender: user(m), token: "t", signatures: {} } }),
  RoomMembershipRestServlet: (m) =>
    m.dice.pick<JsonObject>([
      { user_id: user(m), reason: "x" },
      { id_server: m.peer, medium: "email", address: "a@example.org", id_access_token: "t" },
      { third_party_signed: { mxid: m.userId, sender: user(m), token: "t", signatures: {} } },
    ]),
  RoomForgetRestServlet: () => ({}),
  KnockRoomAliasServlet: () => ({ reason: "please" }),
  RoomUpgradeRestServlet: (m) => ({ new_version: m.dice.pick(["9", "11", "12"]), additional_creators: [user(m)] }),
  ClientDirectoryServer: (m) => ({ room_id: room(m), servers: ["test"] }),
  ClientDirectoryListServer: () => ({ visibility: "public" }),
  ClientAppserviceDirectoryListServer: () => ({ visibility: "public" }),
  PublicRoomListRestServlet: publicRooms,
  PublicRoomList: publicRooms,
  SearchRestServlet: (m) => ({
    search_categories: {
      room_events: {
        search_term: words(m),
        keys: ["content.body", "content.name", "content.topic"],
        order_by: m.dice.pick(["rank", "recent"]),
        filter: { rooms: [room(m)], limit: 5, types: ["m.room.*"], senders: [user(m)], contains_url: false },
        event_context: { before_limit: 2, after_limit: 2, include_profile: true },
        include_state: true,
        groupings: { group_by: [{ key: "room_id" }, { key: "sender" }] },
      },
    },
  }),
  ReportEventRestServlet: () => ({ reason: "x", score: -100 }),
  ReportRoomRestServlet: () => ({ reason: "x" }),
  ReportUserRestServlet: () => ({ reason: "x" }),
  UserDirectorySearchRestServlet: (m) => ({ search_term: words(m), limit: 5 }),
  RoomSendEventRestServlet: message,
  RoomStateEventRestServlet: stateContent,
  RoomRedactEventRestServlet: () => ({ reason: "x", with_relations: ["m.reference", "*"], "org.matrix.msc3912.with_relations": ["*"] }),
  UpdateDelayedEventServlet: (m) => ({ action: m.dice.pick(["send", "cancel", "restart"]) }),
  AccountDataServlet: (m) => m.dice.pick<JsonObject>([{ [user(m)]: [room(m)] }, { ignored_users: { [user(m)]: {} } }, { blocked: [user(m)], a: 1 }]),
  RoomAccountDataServlet: (m) => ({ event_id: event(m), a: { b: [1, "x"] } }),
  TagServlet: () => ({ order: 0.5 }),
  CreateFilterRestServlet: (m) => ({
    event_fields: ["type", "content.body"],
    event_format: "client",
    presence: { types: ["*"], not_senders: [user(m)], limit: 5 },
    account_data: { types: ["m.*"] },
    room: {
      rooms: [room(m)],
      include_leave: true,
      state: { lazy_load_members: true, types: ["m.room.*"] },
      timeline: { limit: 3, unread_thread_notifications: true, related_by_rel_types: ["m.thread"], contains_url: true },
      ephemeral: { not_types: ["m.typing"] },
    },
  }),
  PushRuleRestServlet: (m) => ({
    conditions: [
      { kind: "event_match", key: "content.body", pattern: "x*?" },
      { kind: "room_member_count", is: ">2" },
      { kind: "event_property_is", key: "content.a\\.b", value: 1 },
      { kind: "event_property_contains", key: "content.list", value: "x" },
      { kind: "sender_notification_permission", key: "room" },
    ],
    actions: ["notify", { set_tweak: "highlight", value: true }],
    pattern: words(m),
    enabled: true,
  }),
  ReceiptRestServlet: (m) => ({ thread_id: m.dice.pick(["main", event(m)]), "m.hidden": true }),
  ReadMarkerRestServlet: (m) => ({ "m.fully_read": event(m), "m.read": event(m), "m.read.private": event(m) }),
  RoomTypingRestServlet: () => ({ typing: true, timeout: 1000 }),
  PresenceStatusRestServlet: () => ({ presence: "unavailable", status_msg: "x" }),
  KeyUploadServlet: (m) => ({
    device_keys: deviceKeys(m),
    one_time_keys: { [`signed_curve25519:${fresh(m)}`]: { key: "a".repeat(43), signatures: { [m.userId]: { [`ed25519:${m.deviceId}`]: "x" } } } },
    fallback_keys: { "signed_curve25519:F": { key: "a".repeat(43), fallback: true, signatures: {} } },
  }),
  KeyQueryServlet: (m) => ({ device_keys: { [user(m)]: [], [`@x:${m.peer}`]: ["D"] }, timeout: 10 }),
  FederationClientKeysQueryServlet: (m) => ({ device_keys: { [user(m)]: [] } }),
  OneTimeKeyServlet: (m) => ({ one_time_keys: { [user(m)]: { D: "signed_curve25519" } }, timeout: 10 }),
  UnstableOneTimeKeyServlet: (m) => ({ one_time_keys: { [user(m)]: { D: { signed_curve25519: 2 } } }, timeout: 10 }),
  FederationClientKeysClaimServlet: (m) => ({ one_time_keys: { [user(m)]: { D: "signed_curve25519" } } }),
  FederationUnstableClientKeysClaimServlet: (m) => ({ one_time_keys: { [user(m)]: { D: { signed_curve25519: 2 } } } }),
  SigningKeyUploadServlet: (m) => ({
    master_key: crossSigningKey(m, "master"),
    self_signing_key: crossSigningKey(m, "self_signing"),
    user_signing_key: crossSigningKey(m, "user_signing"),
    auth: auth(m),
  }),
  SignaturesUploadServlet: (m) => ({ [m.userId]: { [m.deviceId]: deviceKeys(m), ["d".repeat(43)]: crossSigningKey(m, "master") } }),
  SendToDeviceRestServlet: (m) => ({ messages: { [user(m)]: { "*": { a: 1 }, D: { b: "x" } } } }),
  RoomKeysServlet: (m) => ({ ...sessionData(), sessions: { s: sessionData() }, rooms: { [room(m)]: { sessions: { s: sessionData() } } } }),
  RoomKeysNewVersionServlet: () => ({ algorithm: "m.megolm_backup.v1.curve25519-aes-sha2", auth_data: { public_key: "a", signatures: {} } }),
  RoomKeysVersionServlet: (m) => ({
    algorithm: "m.megolm_backup.v1.curve25519-aes-sha2",
    auth_data: { public_key: "b", signatures: {} },
    version: m.pool.pick("version") ?? "1",
  }),
  DehydratedDeviceV2Servlet: (m) => ({ device_id: m.deviceId, device_data: { algorithm: "x" }, device_keys: deviceKeys(m), initial_device_display_name: "x" }),
  DehydratedDeviceEventsServlet: (m) => ({ next_batch: m.pool.pick("next_batch") ?? "d1" }),
  PushersSetRestServlet: (m) => ({
    kind: m.dice.pick(["http", "email", null]),
    app_id: "com.example",
    app_display_name: "x",
    device_display_name: "y",
    pushkey: fresh(m),
    lang: "en",
    data: { url: `https://${m.peer}/_matrix/push/v1/notify`, format: "event_id_only", brand: "x" },
    append: true,
    profile_tag: "p",
    enabled: true,
    device_id: m.deviceId,
  }),
  ThreadSubscriptionsRestServlet: (m) => ({ automatic: m.dice.pick([event(m), null]) }),
  SlidingSyncRestServlet: (m) => ({
    conn_id: m.dice.pick(["a", "b"]),
    lists: {
      all: {
        ranges: [[0, 5 + m.dice.below(20)]],
        required_state: [
          ["m.room.member", "$LAZY"],
          ["m.room.member", "$ME"],
          ["*", ""],
          ["m.room.create", ""],
        ],
        timeline_limit: m.dice.below(10),
        filters: {
          is_dm: false,
          spaces: [room(m)],
          is_encrypted: false,
          is_invite: false,
          room_types: [null],
          not_room_types: ["m.space"],
          tags: ["m.favourite"],
        },
      },
    },
    room_subscriptions: { [room(m)]: { required_state: [["*", "*"]], timeline_limit: 2 } },
    extensions: {
      to_device: { enabled: true, limit: 5, since: "0" },
      e2ee: { enabled: true },
      account_data: { enabled: true, lists: ["*"], rooms: ["*"] },
      receipts: { enabled: true, rooms: [room(m)] },
      typing: { enabled: true },
      "io.element.msc4308.thread_subscriptions": { enabled: true, limit: 5 },
      "org.matrix.msc4354.sticky_events": { enabled: true, limit: 5 },
    },
  }),
  AppservicePingRestServlet: () => ({ transaction_id: "x" }),
  ConsentResource: (m) => ({ u: m.userId, v: "1", h: "x" }),

  FederationSendServlet: (m) => ({ origin: m.peer, origin_server_ts: 1, pdus: [pdu(m)], edus: [edu(m), edu(m)] }),
  FederationGetMissingEventsServlet: (m) => ({ earliest_events: [event(m)], latest_events: [event(m)], limit: 10, min_depth: 0 }),
  FederationV1SendJoinServlet: memberPdu("join"),
  FederationV2SendJoinServlet: memberPdu("join"),
  FederationV1SendLeaveServlet: memberPdu("leave"),
  FederationV2SendLeaveServlet: memberPdu("leave"),
  FederationV1SendKnockServlet: memberPdu("knock"),
  FederationV1InviteServlet: memberPdu("invite"),
  FederationV2InviteServlet: invite,
  FederationThirdPartyInviteExchangeServlet: (m) => ({
    type: "m.room.member",
    room_id: room(m),
    sender: user(m),
    state_key: `@mallory:${m.peer}`,
    content: { membership: "invite", third_party_invite: { display_name: "x", signed: { mxid: `@mallory:${m.peer}`, token: "t", signatures: {} } } },
  }),
  On3pidBindServlet: (m) => ({
    medium: "email",
    address: "a@example.org",
    mxid: user(m),
    invites: [{ mxid: user(m), room_id: room(m), sender: user(m), signed: { mxid: user(m), token: "t", signatures: {} } }],
  }),
  FederationAccountStatusServlet: (m) => ({ user_ids: [user(m)] }),
  RemoteKey: (m) => ({ server_keys: { test: { "ed25519:a_test": { minimum_valid_until_ts: 0 } }, [m.peer]: {} } }),

  UserRestServletV2: (m) => ({
    password: m.password,
    displayname: "x",
    threepids: [{ medium: "email", address: `${fresh(m)}@example.org` }],
    external_ids: [{ auth_provider: "oidc", external_id: fresh(m) }],
    avatar_url: "mxc://a/b",
    admin: false,
    deactivated: false,
    locked: false,
    user_type: null,
    approved: true,
    logout_devices: false,
  }),
  ResetPasswordRestServlet: (m) => ({ new_password: m.password, logout_devices: false }),
  UserTokenRestServlet: () => ({ valid_until_ms: 4_102_444_800_000 }),
  UserAdminServlet: () => ({ admin: false }),
  RateLimitRestServlet: () => ({ messages_per_second: 0, burst_count: 0 }),
  AccountValidityRenewServlet: (m) => ({ user_id: user(m), expiration_ts: 4_102_444_800_000, enable_renewal_emails: true }),
  DevicesRestServlet: (m) => ({ device_id: fresh(m) }),
  MakeRoomAdminRestServlet: (m) => ({ user_id: user(m) }),
  BlockRoomRestServlet: () => ({ block: false }),
  RoomRestServlet: (m) => ({ new_room_user_id: m.userId, room_name: "x", message: "y", block: false, purge: true, force_purge: false }),
  RoomRestV2Servlet: (m) => ({ new_room_user_id: m.userId, room_name: "x", message: "y", block: false, purge: true, force_purge: false }),
  PurgeHistoryRestServlet: (m) => ({ delete_local_events: false, purge_up_to_ts: 1, purge_up_to_event_id: event(m) }),
  NewRegistrationTokenRestServlet: () => ({ uses_allowed: 2, expiry_time: 4_102_444_800_000, length: 16 }),
  RegistrationTokenRestServlet: () => ({ uses_allowed: 3, expiry_time: null }),
  BackgroundUpdateEnabledRestServlet: () => ({ enabled: true }),
  BackgroundUpdateStartJobRestServlet: () => ({ job_name: "populate_stats_process_rooms" }),
  ExperimentalFeaturesRestServlet: () => ({ features: { msc3881: true, msc4222: false } }),
  SendServerNoticeServlet: (m) => ({ user_id: user(m), content: { msgtype: "m.text", body: "x" }, type: "m.room.message" }),
  SuspendAccountRestServlet: () => ({ suspend: false }),
  RedactUser: (m) => ({ rooms: [room(m)], reason: "x", limit: 10 }),
};

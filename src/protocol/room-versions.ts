/**
 * Room versions as a table of flags: code asks for a flag, never for a version. (Specification "Room Versions"; the table in
 * `tables.md`, section 8, gives what Synapse 1.160 knows.)
 */
export interface RoomVersion {
  readonly id: string;
  readonly stable: boolean;
  /** 1: event ids chosen by the sender, references with hashes; 2: hash ids, standard base64; 3: URL-safe base64; 4: room id is the create event's hash; 5: MSC4242. Also `event_json.format_version`. */
  readonly eventFormat: 1 | 2 | 3 | 4 | 5;
  /** 1: v1; 2: v2; 3: v2.1 (empty start set, conflicted subgraph). */
  readonly stateResolution: 1 | 2 | 3;
  /** v12: room id derived from the create event; no create event among auth events. */
  readonly roomIdIsCreateHash: boolean;
  /** v12: creators (sender and `additional_creators`) have infinite power. */
  readonly creatorsHavePower: boolean;
  /** v11: the creator is the sender of the create event, `content.creator` is not read. */
  readonly implicitCreator: boolean;
  /** v6: no floats, integers within 53 bits. */
  readonly strictCanonicalJson: boolean;
  /** v10: power levels must be integers, not strings. */
  readonly integerPowerLevels: boolean;
  /** v5: signing keys must be valid at the event's time. */
  readonly enforceKeyValidity: boolean;
  /** v11: redaction keeps what v11 says, `redacts` lies in content. */
  readonly updatedRedaction: boolean;
  readonly redactsInContent: boolean;
  /** v1-v5: m.room.aliases has its own auth and redaction rules. */
  readonly specialAliases: boolean;
  /** v6: the `notifications` key of power levels is guarded. */
  readonly limitNotificationPowerLevels: boolean;
  readonly knocking: boolean;
  readonly restrictedJoins: boolean;
  readonly knockRestrictedJoins: boolean;
  /** v9: redaction keeps `join_authorised_via_users_server`. */
  readonly restrictedJoinRedactionFix: boolean;
  /** v3 on: the auth rules let every redaction pass; whether it takes effect is decided from its sender when it is applied. Before (false), rule 11 decides. */
  readonly redactionAuthBySender: boolean;
  /** v11: events whose ids, type or state key are over 255 bytes are dropped; before, only those over 255 code points (others are stored as rejected). */
  readonly strictByteLimits: boolean;
  /** MSC3757: state keys may begin with the owner's id. */
  readonly ownedState: boolean;
  /** MSC3389: redaction keeps `rel_type` and `event_id` of `m.relates_to`. */
  readonly relationRedactions: boolean;
  /** MSC4242: events carry `prev_state_events` in place of `auth_events`. */
  readonly stateDag: boolean;
  /** MSC3931 push features, e.g. `org.matrix.msc3932.extensible_events`. */
  readonly pushFeatures: readonly string[];
}

const V1: RoomVersion = {
  id: "1",
  stable: true,
  eventFormat: 1,
  stateResolution: 1,
  roomIdIsCreateHash: false,
  creatorsHavePower: false,
  implicitCreator: false,
  strictCanonicalJson: false,
  integerPowerLevels: false,
  enforceKeyValidity: false,
  updatedRedaction: false,
  redactsInContent: false,
  specialAliases: true,
  limitNotificationPowerLevels: false,
  knocking: false,
  restrictedJoins: false,
  knockRestrictedJoins: false,
  restrictedJoinRedactionFix: false,
  redactionAuthBySender: false,
  strictByteLimits: false,
  ownedState: false,
  relationRedactions: false,
  stateDag: false,
  pushFeatures: [],
};

/** Each version is the one it was derived from with its own changes. */
const V2: RoomVersion = { ...V1, id: "2", stateResolution: 2 };
const V3: RoomVersion = { ...V2, id: "3", eventFormat: 2, redactionAuthBySender: true };
const V4: RoomVersion = { ...V3, id: "4", eventFormat: 3 };
const V5: RoomVersion = { ...V4, id: "5", enforceKeyValidity: true };
const V6: RoomVersion = { ...V5, id: "6", specialAliases: false, strictCanonicalJson: true, limitNotificationPowerLevels: true };
const V7: RoomVersion = { ...V6, id: "7", knocking: true };
const V8: RoomVersion = { ...V7, id: "8", restrictedJoins: true };
const V9: RoomVersion = { ...V8, id: "9", restrictedJoinRedactionFix: true };
const V10: RoomVersion = { ...V9, id: "10", knockRestrictedJoins: true, integerPowerLevels: true };
const V11: RoomVersion = { ...V10, id: "11", implicitCreator: true, updatedRedaction: true, redactsInContent: true, strictByteLimits: true };
const V12: RoomVersion = { ...V11, id: "12", eventFormat: 4, stateResolution: 3, creatorsHavePower: true, roomIdIsCreateHash: true };

const UNSTABLE: readonly RoomVersion[] = [
  { ...V10, id: "org.matrix.msc1767.10", stable: false, pushFeatures: ["org.matrix.msc3932.extensible_events"] },
  { ...V10, id: "org.matrix.msc3389.10", stable: false, relationRedactions: true, strictByteLimits: true },
  { ...V10, id: "org.matrix.msc3757.10", stable: false, ownedState: true },
  { ...V11, id: "org.matrix.msc3757.11", stable: false, ownedState: true },
  { ...V12, id: "org.matrix.hydra.11", stable: false },
  { ...V12, id: "org.matrix.msc4242.12", stable: false, eventFormat: 5, stateDag: true },
];

const TABLE: ReadonlyMap<string, RoomVersion> = new Map(
  [V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12, ...UNSTABLE].map((version) => [version.id, Object.freeze(version)]),
);

/** All versions whose events can be read and checked, in table order. */
export const KNOWN_ROOM_VERSIONS: readonly RoomVersion[] = [...TABLE.values()];

/** Versions that a server offers for joining and creating rooms only when its experimental option is on; the third has no option. */
const BEHIND_OPTION = new Set(["org.matrix.msc1767.10", "org.matrix.msc4242.12", "org.matrix.msc3389.10"]);

/** Ids of the versions that are offered without any experimental option, as Synapse 1.160 does. */
export const SUPPORTED_ROOM_VERSIONS: readonly string[] = KNOWN_ROOM_VERSIONS.map((version) => version.id).filter((id) => !BEHIND_OPTION.has(id));

/** The version of that id, undefined when it is unknown. */
export function roomVersion(id: string): RoomVersion | undefined {
  return TABLE.get(id);
}

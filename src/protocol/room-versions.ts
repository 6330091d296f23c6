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
  /** v3 on: redaction is checked by power at auth for v1-v2 only. */
  readonly redactionAuthBySender: boolean;
  /** v11: byte limits of ids and keys count bytes for all fields. */
  readonly strictByteLimits: boolean;
  /** MSC3757: state keys may begin with the owner's id. */
  readonly ownedState: boolean;
  /** MSC3931 push features, e.g. `org.matrix.msc3932.extensible_events`. */
  readonly pushFeatures: readonly string[];
}

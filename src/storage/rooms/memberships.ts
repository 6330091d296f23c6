import { type CacheSize, defaultSize } from "../../lib/cache-size.ts";
import { PersistentMap } from "../../lib/persistent-map.ts";
import { UpdatableCache } from "../../lib/updatable-cache.ts";
import type { CacheReading } from "../../lib/metrics.ts";
import { getDomain } from "../../protocol/ids.ts";
import { query, type ReadHandle } from "../database.ts";

/** A local user's present relation to a room (`local_current_membership`). */
export interface RoomMembership {
  readonly membership: string;
  /** Who sent the membership event. */
  readonly sender: string;
  readonly eventId: string;
  readonly streamOrdering: number;
  readonly forgotten: boolean;
  /** undefined where the room has none on record. */
  readonly roomVersion: string | undefined;
}

/** Name and picture of a member as the membership event has them. */
export interface MemberProfile {
  readonly displayName: string | undefined;
  readonly avatarUrl: string | undefined;
}

/** Joined members of a room. The collections are live: they change as people join and leave. */
export interface RoomMembers {
  readonly joined: ReadonlySet<string>;
  readonly local: ReadonlySet<string>;
  readonly servers: ReadonlySet<string>;
  /** Changes whenever a local member comes, goes or takes another name. */
  readonly version: number;
}

/** Members of all cached rooms together. */
const MEMBERS = 1_000_000;
/** Local users whose rooms are cached. */
const USERS = 20_000;

/** A change of the current membership of one user in one room; `membership` undefined: no longer in the current state at all. */
export interface MembershipChange {
  readonly roomId: string;
  readonly userId: string;
  readonly membership: string | undefined;
  readonly sender: string;
  readonly eventId: string;
  readonly streamOrdering: number;
  readonly roomVersion: string | undefined;
  readonly profile: MemberProfile;
  /** The member event in whose place this one comes. */
  readonly replaces?: string | undefined;
}

let versions = 0;

class Members implements RoomMembers {
  version = ++versions;
  readonly joined = new Set<string>();
  readonly local = new Set<string>();
  readonly servers = new Set<string>();
  private readonly perServer = new Map<string, number>();
  constructor(private readonly serverName: string) {}

  add(userId: string): void {
    if (this.joined.has(userId)) return;
    this.joined.add(userId);
    const server = getDomain(userId);
    if (server === this.serverName) this.local.add(userId);
    this.perServer.set(server, (this.perServer.get(server) ?? 0) + 1);
    this.servers.add(server);
  }

  remove(userId: string): void {
    if (!this.joined.delete(userId)) return;
    this.local.delete(userId);
    const server = getDomain(userId);
    const left = this.perServer.get(server)! - 1;
    if (left > 0) this.perServer.set(server, left);
    else {
      this.perServer.delete(server);
      this.servers.delete(server);
    }
  }
}

/** Who is in which room, cached and kept in step by the persister. */
export class Memberships {
  private readonly rooms: UpdatableCache<string, Members>;
  private readonly users: UpdatableCache<string, PersistentMap<string, RoomMembership>>;
  private readonly profiles: UpdatableCache<string, Map<string, MemberProfile>>;

  constructor(
    private readonly read: ReadHandle,
    private readonly serverName: string,
    sizeOf: CacheSize = defaultSize,
  ) {
    this.rooms = new UpdatableCache(sizeOf("get_users_in_room", MEMBERS), (room) => room.joined.size + 4);
    this.users = new UpdatableCache(sizeOf("get_rooms_for_user", USERS));
    this.profiles = new UpdatableCache(sizeOf("get_users_in_room_with_profiles", MEMBERS), (room) => room.size + 4);
  }

  /** Readings of the caches under Synapse's names, for the metrics. */
  get caches(): Readonly<Record<string, () => CacheReading>> {
    return {
      get_users_in_room: () => this.rooms.reading,
      get_rooms_for_user: () => this.users.reading,
      get_users_in_room_with_profiles: () => this.profiles.reading,
    };
  }

  /** All that is known of a room's joined members. */
  async inRoom(roomId: string): Promise<RoomMembers> {
    return await this.members(roomId);
  }

  /** The same for many rooms: of those that are not held, by one query. */
  async inRooms(roomIds: Iterable<string>): Promise<Map<string, RoomMembers>> {
    const ids = [...new Set(roomIds)];
    const missing = ids.filter((roomId) => this.rooms.peek(roomId) === undefined);
    const loading = missing.length === 0 ? undefined : readJoined(this.read, missing);
    const load = async (roomId: string): Promise<Members> => this.membersOf((await loading)?.get(roomId));
    const rooms = await Promise.all(ids.map((roomId) => this.rooms.get(roomId, () => load(roomId))));
    return new Map(ids.map((roomId, index) => [roomId, rooms[index]!]));
  }

  /** Joined members, local and remote. */
  async joined(roomId: string): Promise<ReadonlySet<string>> {
    return (await this.members(roomId)).joined;
  }

  /** Joined members of this server. */
  async joinedLocal(roomId: string): Promise<ReadonlySet<string>> {
    return (await this.members(roomId)).local;
  }

  /** Servers with a joined member, this one among them. */
  async joinedServers(roomId: string): Promise<ReadonlySet<string>> {
    return (await this.members(roomId)).servers;
  }

  /** Every room that a local user has a membership in (left, forgotten and banned ones too), by room id. */
  async roomsOf(userId: string): Promise<ReadonlyMap<string, RoomMembership>> {
    return await this.users.get(userId, async () => (await readRoomsOf(this.read, [userId])).get(userId) ?? PersistentMap.empty());
  }

  /** Display names and avatars of the room's joined local members. */
  async localProfiles(roomId: string): Promise<ReadonlyMap<string, MemberProfile>> {
    return await this.profiles.get(roomId, async () => {
      const local = await this.joinedLocal(roomId);
      return await readProfiles(this.read, roomId, [...local]);
    });
  }

  /** Joined members of this server when they are in memory: for callers that must not wait. */
  peekLocal(roomId: string): ReadonlySet<string> | undefined {
    return this.rooms.peek(roomId)?.local;
  }

  // ------------------------------------------------------------------------------------------------ kept in step by the persister

  /** Current memberships changed. */
  apply(changes: readonly MembershipChange[]): void {
    for (const change of changes) {
      const { roomId, userId } = change;
      const isLocal = getDomain(userId) === this.serverName;
      this.rooms.update(roomId, (members) => {
        if (isLocal) members.version = ++versions;
        if (change.membership === "join") members.add(userId);
        else members.remove(userId);
        return members;
      });
      if (!isLocal) continue;
      this.users.update(userId, (rooms) =>
        change.membership === undefined
          ? rooms.without([roomId])
          : rooms.set(roomId, {
              membership: change.membership,
              sender: change.sender,
              eventId: change.eventId,
              streamOrdering: change.streamOrdering,
              forgotten: false,
              roomVersion: change.roomVersion,
            }),
      );
      this.profiles.update(roomId, (profiles) => {
        if (change.membership === "join") profiles.set(userId, change.profile);
        else profiles.delete(userId);
        return profiles;
      });
    }
  }

  /** A local user forgot the room. */
  forgot(userId: string, roomId: string): void {
    this.users.update(userId, (rooms) => {
      const room = rooms.get(roomId);
      return room === undefined ? rooms : rooms.set(roomId, { ...room, forgotten: true });
    });
  }

  /** A room's members changed by other means: read them anew. */
  forgetRoom(roomId: string): void {
    this.rooms.delete(roomId);
    this.profiles.delete(roomId);
  }

  forgetUser(userId: string): void {
    this.users.delete(userId);
  }

  clear(): void {
    this.rooms.clear();
    this.users.clear();
    this.profiles.clear();
  }

  private async members(roomId: string): Promise<Members> {
    const held = this.rooms.peek(roomId);
    if (held !== undefined) return held;
    return await this.rooms.get(roomId, async () => this.membersOf((await readJoined(this.read, [roomId])).get(roomId)));
  }

  private membersOf(userIds: readonly string[] = []): Members {
    const members = new Members(this.serverName);
    for (const userId of userIds) members.add(userId);
    return members;
  }
}

/** Joined members by room; rooms without any are absent. */
async function readJoined(read: ReadHandle, roomIds: readonly string[]): Promise<Map<string, string[]>> {
  const rows = await query<{ room_id: string; state_key: string }>(
    read,
    `SELECT c.room_id, c.state_key FROM current_state_events AS c WHERE c.room_id = ANY($1) AND c.type = 'm.room.member' AND c.membership = 'join'`,
    [roomIds],
  );
  const byRoom = new Map<string, string[]>();
  for (const { room_id, state_key } of rows) {
    const list = byRoom.get(room_id);
    if (list === undefined) byRoom.set(room_id, [state_key]);
    else list.push(state_key);
  }
  return byRoom;
}

/** The rooms of local users, in one query. */
export async function readRoomsOf(read: ReadHandle, userIds: readonly string[]): Promise<Map<string, PersistentMap<string, RoomMembership>>> {
  const rows = await query<{
    user_id: string;
    room_id: string;
    membership: string;
    event_id: string;
    event_stream_ordering: number | null;
    sender: string;
    forgotten: number | null;
    room_version: string | null;
  }>(
    read,
    `SELECT l.user_id, l.room_id, l.membership, l.event_id, COALESCE(l.event_stream_ordering, e.stream_ordering) AS event_stream_ordering,
       COALESCE(m.sender, e.sender) AS sender, m.forgotten, r.room_version
     FROM local_current_membership AS l
     JOIN events AS e ON e.event_id = l.event_id
     LEFT JOIN room_memberships AS m ON m.event_id = l.event_id
     LEFT JOIN rooms AS r ON r.room_id = l.room_id
     WHERE l.user_id = ANY($1)`,
    [userIds],
  );
  const byUser = new Map<string, [string, RoomMembership][]>();
  for (const row of rows) {
    let list = byUser.get(row.user_id);
    if (list === undefined) byUser.set(row.user_id, (list = []));
    list.push([
      row.room_id,
      {
        membership: row.membership,
        sender: row.sender,
        eventId: row.event_id,
        streamOrdering: row.event_stream_ordering ?? 0,
        forgotten: row.forgotten === 1,
        roomVersion: row.room_version ?? undefined,
      },
    ]);
  }
  return new Map([...byUser].map(([userId, list]) => [userId, PersistentMap.from(list)]));
}

async function readProfiles(read: ReadHandle, roomId: string, userIds: readonly string[]): Promise<Map<string, MemberProfile>> {
  const rows = await query<{ state_key: string; display_name: string | null; avatar_url: string | null }>(
    read,
    `SELECT c.state_key, m.display_name, m.avatar_url
     FROM current_state_events AS c JOIN room_memberships AS m ON m.event_id = c.event_id
     WHERE c.room_id = $1 AND c.type = 'm.room.member' AND c.membership = 'join' AND c.state_key = ANY($2)`,
    [roomId, userIds],
  );
  return new Map(rows.map((row) => [row.state_key, { displayName: row.display_name ?? undefined, avatarUrl: row.avatar_url ?? undefined }]));
}

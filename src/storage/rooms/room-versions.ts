import { type CacheSize, defaultSize } from "../../lib/cache-size.ts";
import { UpdatableCache } from "../../lib/updatable-cache.ts";
import { roomVersion, type RoomVersion } from "../../protocol/room-versions.ts";
import { query, type ReadHandle } from "../database.ts";

/** The version of each room that has one on record. */
export async function readRoomVersions(read: ReadHandle, roomIds: readonly string[]): Promise<Map<string, string>> {
  if (roomIds.length === 0) return new Map();
  const rows = await query<{ room_id: string; room_version: string }>(
    read,
    `SELECT r.room_id, r.room_version FROM rooms AS r WHERE r.room_id = ANY($1) AND r.room_version IS NOT NULL`,
    [roomIds],
  );
  return new Map(rows.map((row) => [row.room_id, row.room_version]));
}

/** Room versions by room, cached: a room never changes its version. */
export class RoomVersions {
  private readonly versions: UpdatableCache<string, RoomVersion | undefined>;

  constructor(
    private readonly read: ReadHandle,
    sizeOf: CacheSize = defaultSize,
  ) {
    this.versions = new UpdatableCache(sizeOf("get_room_version_id", 50_000));
  }

  /** undefined when the room is unknown, or its version is. */
  async get(roomId: string): Promise<RoomVersion | undefined> {
    const version = await this.versions.get(roomId, async () => {
      const id = (await readRoomVersions(this.read, [roomId])).get(roomId);
      return id === undefined ? undefined : roomVersion(id);
    });
    if (version === undefined) this.versions.delete(roomId); // it may be made any time
    return version;
  }

  remember(roomId: string, version: RoomVersion): void {
    this.versions.set(roomId, version);
  }

  forgetRoom(roomId: string): void {
    this.versions.delete(roomId);
  }
}

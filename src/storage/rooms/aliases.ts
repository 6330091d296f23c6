import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** Local room aliases: `room_aliases` and, for each, the servers that can help to join (`room_alias_servers`). */
export interface AliasTarget {
  readonly roomId: string;
  readonly servers: readonly string[];
}

/** Where a local alias points; undefined when there is no such alias, or no server is known for it (as Synapse). */
export async function aliasTarget(h: ReadHandle, alias: string): Promise<AliasTarget | undefined> {
  const row = await queryOne<{ room_id: string; servers: string[] }>(
    h,
    `SELECT room_aliases.room_id,
            ARRAY(SELECT room_alias_servers.server FROM room_alias_servers WHERE room_alias_servers.room_alias = room_aliases.room_alias) AS servers
       FROM room_aliases
      WHERE room_aliases.room_alias = $1`,
    [alias],
  );
  return row === undefined || row.servers.length === 0 ? undefined : { roomId: row.room_id, servers: row.servers };
}

/** Room and creator of an alias (the creator may be unknown: null); undefined when there is no such alias. */
export async function aliasOwner(h: ReadHandle, alias: string): Promise<{ room_id: string; creator: string | null } | undefined> {
  return await queryOne(h, "SELECT room_id, creator FROM room_aliases WHERE room_alias = $1", [alias]);
}

export async function aliasesOfRoom(h: ReadHandle, roomId: string): Promise<string[]> {
  const rows = await query<{ room_alias: string }>(h, "SELECT room_alias FROM room_aliases WHERE room_id = $1", [roomId]);
  return rows.map((row) => row.room_alias);
}

/** Adds an alias with its servers. False, with nothing written, when the alias exists already. */
export async function insertAlias(txn: Txn, alias: string, roomId: string, creator: string | undefined, servers: readonly string[]): Promise<boolean> {
  const count = await execute(txn, "INSERT INTO room_aliases (room_alias, room_id, creator) VALUES ($1, $2, $3) ON CONFLICT (room_alias) DO NOTHING", [
    alias,
    roomId,
    creator ?? null,
  ]);
  if (count === 0) return false;
  await execute(txn, "INSERT INTO room_alias_servers (room_alias, server) SELECT $1, given.server FROM unnest($2::text[]) AS given (server)", [alias, servers]);
  return true;
}

/** Removes an alias; the room that it pointed to, or undefined when it did not exist. */
export async function deleteAlias(txn: Txn, alias: string): Promise<string | undefined> {
  const row = await queryOne<{ room_id: string }>(txn, "DELETE FROM room_aliases WHERE room_alias = $1 RETURNING room_id", [alias]);
  await execute(txn, "DELETE FROM room_alias_servers WHERE room_alias = $1", [alias]);
  return row?.room_id;
}

/** Room upgrade: points all aliases of the old room to the new one; `creator` becomes their owner when given. */
export async function moveAliases(txn: Txn, oldRoomId: string, newRoomId: string, creator: string | undefined): Promise<void> {
  await execute(txn, "UPDATE room_aliases SET room_id = $2, creator = COALESCE($3, creator) WHERE room_id = $1", [oldRoomId, newRoomId, creator ?? null]);
}

import { execute, query, type ReadHandle, type Txn } from "../database.ts";

/** At which identity servers users have bound addresses through this server (`user_threepid_id_server`). */
export async function addBinding(txn: Txn, userId: string, medium: string, address: string, idServer: string): Promise<void> {
  await execute(txn, "INSERT INTO user_threepid_id_server (user_id, medium, address, id_server) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING", [
    userId,
    medium,
    address,
    idServer,
  ]);
}

export async function removeBinding(txn: Txn, userId: string, medium: string, address: string, idServer: string): Promise<void> {
  await execute(txn, "DELETE FROM user_threepid_id_server WHERE user_id = $1 AND medium = $2 AND address = $3 AND id_server = $4", [
    userId,
    medium,
    address,
    idServer,
  ]);
}

/** Identity servers that may know the address as the user's. */
export async function getIdServersOfBinding(h: ReadHandle, userId: string, medium: string, address: string): Promise<string[]> {
  const rows = await query<{ idServer: string }>(
    h,
    `SELECT id_server AS "idServer" FROM user_threepid_id_server WHERE user_id = $1 AND medium = $2 AND address = $3 ORDER BY id_server`,
    [userId, medium, address],
  );
  return rows.map(({ idServer }) => idServer);
}

/** Addresses that the user has bound somewhere. */
export async function getBoundThreepids(h: ReadHandle, userId: string): Promise<{ medium: string; address: string }[]> {
  return await query(h, "SELECT DISTINCT medium, address FROM user_threepid_id_server WHERE user_id = $1 ORDER BY medium, address", [userId]);
}

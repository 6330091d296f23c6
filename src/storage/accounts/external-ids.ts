import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** Who a local user is at an identity provider (`user_external_ids`). */
export interface ExternalId {
  readonly auth_provider: string;
  readonly external_id: string;
}

export async function getExternalIds(h: ReadHandle, userId: string): Promise<ExternalId[]> {
  return await query(h, "SELECT auth_provider, external_id FROM user_external_ids WHERE user_id = $1", [userId]);
}

/** The local user with that id at that identity provider. */
export async function getUserByExternalId(h: ReadHandle, authProvider: string, externalId: string): Promise<string | undefined> {
  const row = await queryOne<{ userId: string }>(h, `SELECT user_id AS "userId" FROM user_external_ids WHERE auth_provider = $1 AND external_id = $2`, [
    authProvider,
    externalId,
  ]);
  return row?.userId;
}

/** Adds external ids of a user; false, and some may be written, when one of them is somebody's already. */
export async function insertExternalIds(txn: Txn, userId: string, ids: readonly ExternalId[]): Promise<boolean> {
  const written = await execute(
    txn,
    `INSERT INTO user_external_ids (auth_provider, external_id, user_id) SELECT auth_provider, external_id, $1 FROM unnest($2::text[], $3::text[]) AS given (auth_provider, external_id)
     ON CONFLICT (auth_provider, external_id) DO NOTHING`,
    [userId, ids.map((id) => id.auth_provider), ids.map((id) => id.external_id)],
  );
  return written === ids.length;
}

export async function deleteExternalIdsOfUser(txn: Txn, userId: string): Promise<void> {
  await execute(txn, "DELETE FROM user_external_ids WHERE user_id = $1", [userId]);
}

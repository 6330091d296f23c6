import { execute, query, type ReadHandle, type Txn } from "../database.ts";

/** Features that an admin turned on for one user: "msc3881", "msc3575", "msc4222". */
export async function getEnabledFeatures(h: ReadHandle, userId: string): Promise<Set<string>> {
  const rows = await query<{ feature: string }>(h, "SELECT feature FROM per_user_experimental_features WHERE user_id = $1 AND enabled", [userId]);
  return new Set(rows.map(({ feature }) => feature));
}

/** Turns features of a user on and off. */
export async function setFeatures(txn: Txn, userId: string, features: Readonly<Record<string, boolean>>): Promise<void> {
  await execute(
    txn,
    `INSERT INTO per_user_experimental_features (user_id, feature, enabled) SELECT $1, feature, enabled FROM unnest($2::text[], $3::boolean[]) AS given (feature, enabled)
     ON CONFLICT (user_id, feature) DO UPDATE SET enabled = EXCLUDED.enabled`,
    [userId, Object.keys(features), Object.values(features)],
  );
}

import { localpartOf } from "../../protocol/ids.ts";
import type { JsonObject } from "../../lib/json.ts";
import { execute, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** The profile of a local user. */
export interface Profile {
  readonly displayname: string | null;
  readonly avatarUrl: string | null;
  /** Fields beyond these two (MSC4133). */
  readonly fields: JsonObject;
}

const COLUMNS = `displayname, avatar_url AS "avatarUrl", coalesce(fields, '{}'::jsonb) AS fields`;

/** undefined when the user has no profile row. */
export async function getProfile(h: ReadHandle, userId: string): Promise<Profile | undefined> {
  return await queryOne<Profile>(h, `SELECT ${COLUMNS} FROM profiles WHERE full_user_id = $1`, [userId]);
}

/** Reads the profile for a change of it: nobody else changes it until the transaction ends. */
export async function lockProfile(txn: Txn, userId: string): Promise<Profile | undefined> {
  return await queryOne<Profile>(txn, `SELECT ${COLUMNS} FROM profiles WHERE full_user_id = $1 FOR UPDATE`, [userId]);
}

/** Bytes of the custom fields as Postgres writes them, without the field `except`; 0 when there are none. */
export async function getFieldsSize(txn: Txn, userId: string, except: string): Promise<number> {
  const row = await queryOne<{ bytes: number | null }>(txn, "SELECT octet_length((fields - $2::text)::text) AS bytes FROM profiles WHERE full_user_id = $1", [
    userId,
    except,
  ]);
  return row?.bytes ?? 0;
}

export async function setDisplayname(txn: Txn, userId: string, displayname: string | null): Promise<void> {
  await execute(
    txn,
    `INSERT INTO profiles (user_id, full_user_id, displayname) VALUES ($1, $2, $3)
     ON CONFLICT (user_id) DO UPDATE SET displayname = EXCLUDED.displayname, full_user_id = EXCLUDED.full_user_id`,
    [localpartOf(userId), userId, displayname],
  );
}

export async function setAvatarUrl(txn: Txn, userId: string, avatarUrl: string | null): Promise<void> {
  await execute(
    txn,
    `INSERT INTO profiles (user_id, full_user_id, avatar_url) VALUES ($1, $2, $3)
     ON CONFLICT (user_id) DO UPDATE SET avatar_url = EXCLUDED.avatar_url, full_user_id = EXCLUDED.full_user_id`,
    [localpartOf(userId), userId, avatarUrl],
  );
}

export async function setProfileField(txn: Txn, userId: string, field: string, valueJson: string): Promise<void> {
  await execute(
    txn,
    `INSERT INTO profiles (user_id, full_user_id, fields) VALUES ($1, $2, jsonb_build_object($3::text, $4::jsonb))
     ON CONFLICT (user_id) DO UPDATE SET full_user_id = EXCLUDED.full_user_id, fields = coalesce(profiles.fields, '{}'::jsonb) || EXCLUDED.fields`,
    [localpartOf(userId), userId, field, valueJson],
  );
}

export async function deleteProfileField(txn: Txn, userId: string, field: string): Promise<void> {
  await execute(txn, "UPDATE profiles SET fields = fields - $2::text WHERE full_user_id = $1", [userId, field]);
}

/** An empty profile, where there is none (account activated again). */
export async function insertEmptyProfile(txn: Txn, userId: string): Promise<void> {
  await execute(txn, "INSERT INTO profiles (user_id, full_user_id) VALUES ($1, $2) ON CONFLICT (user_id) DO NOTHING", [localpartOf(userId), userId]);
}

export async function deleteProfile(txn: Txn, userId: string): Promise<void> {
  await execute(txn, "DELETE FROM profiles WHERE full_user_id = $1", [userId]);
}

/** One entry of the profile stream, shown to each of the users (MSC4262, MSC4429). */
export async function insertProfileUpdate(
  txn: Txn,
  update: {
    streamId: number;
    instanceName: string;
    userId: string;
    action: string;
    fields: readonly string[] | undefined;
    targets: readonly string[];
    now: number;
  },
): Promise<void> {
  await Promise.all([
    execute(
      txn,
      "INSERT INTO profile_updates (stream_id, instance_name, user_id, action, affected_fields, inserted_ts) VALUES ($1, $2, $3, $4, $5::jsonb, $6)",
      [
        update.streamId,
        update.instanceName,
        update.userId,
        update.action,
        update.fields === undefined ? null : JSON.stringify([...update.fields].sort()),
        update.now,
      ],
    ),
    execute(txn, "INSERT INTO profile_updates_per_user (stream_id, user_id, inserted_ts) SELECT $1, user_id, $3 FROM unnest($2::text[]) AS target (user_id)", [
      update.streamId,
      update.targets,
      update.now,
    ]),
  ]);
}

import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** `e2e_cross_signing_keys`, `e2e_cross_signing_signatures`, and the hidden devices that stand for local users' cross-signing keys. */
export type CrossSigningKeyType = "master" | "self_signing" | "user_signing";

export interface CrossSigningKeyRow {
  readonly userId: string;
  readonly keyType: string;
  /** JSON text. */
  readonly keyData: string;
}

/** The newest keys of users, local and remote. */
export async function crossSigningKeys(read: ReadHandle, userIds: readonly string[]): Promise<CrossSigningKeyRow[]> {
  return await query<CrossSigningKeyRow>(
    read,
    `SELECT DISTINCT ON (user_id, keytype) user_id AS "userId", keytype AS "keyType", keydata AS "keyData"
     FROM e2e_cross_signing_keys WHERE user_id = ANY($1::text[]) ORDER BY user_id, keytype, stream_id DESC`,
    [userIds],
  );
}

export interface SignatureRow {
  readonly targetUserId: string;
  /** A device id, or the public key of a cross-signing key. */
  readonly targetDeviceId: string;
  readonly keyId: string;
  readonly signature: string;
}

/** Signatures that `signer` made over keys or devices. */
export async function signaturesBy(
  read: ReadHandle,
  signer: string,
  targets: readonly (readonly [userId: string, deviceId: string])[],
): Promise<SignatureRow[]> {
  return await query<SignatureRow>(
    read,
    `SELECT signature.target_user_id AS "targetUserId", signature.target_device_id AS "targetDeviceId", signature.key_id AS "keyId", signature.signature
     FROM unnest($2::text[], $3::text[]) AS target (user_id, device_id)
     JOIN e2e_cross_signing_signatures AS signature
       ON signature.user_id = $1 AND signature.target_user_id = target.user_id AND signature.target_device_id = target.device_id`,
    [signer, targets.map(([userId]) => userId), targets.map(([, deviceId]) => deviceId)],
  );
}

/** Stores signatures of `signer`; those that are stored already are passed over. */
export async function addSignatures(txn: Txn, signer: string, signatures: readonly SignatureRow[]): Promise<void> {
  await execute(
    txn,
    `INSERT INTO e2e_cross_signing_signatures (user_id, key_id, target_user_id, target_device_id, signature)
     SELECT $1, new.key_id, new.target_user_id, new.target_device_id, new.signature
     FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) AS new (key_id, target_user_id, target_device_id, signature)
     WHERE NOT EXISTS (
       SELECT FROM e2e_cross_signing_signatures AS stored
       WHERE stored.user_id = $1 AND stored.target_user_id = new.target_user_id AND stored.target_device_id = new.target_device_id
         AND stored.key_id = new.key_id AND stored.signature = new.signature)`,
    [
      signer,
      signatures.map((s) => s.keyId),
      signatures.map((s) => s.targetUserId),
      signatures.map((s) => s.targetDeviceId),
      signatures.map((s) => s.signature),
    ],
  );
}

export interface NewCrossSigningKey {
  readonly userId: string;
  readonly keyType: CrossSigningKeyType;
  readonly publicKey: string;
  /** JSON text. */
  readonly keyData: string;
  readonly streamId: number;
  readonly instanceName: string;
}

/** Stores a key as the newest of its type. */
export async function addCrossSigningKey(txn: Txn, key: NewCrossSigningKey): Promise<void> {
  await execute(txn, `INSERT INTO e2e_cross_signing_keys (user_id, keytype, keydata, stream_id, instance_name) VALUES ($1, $2, $3, $4, $5)`, [
    key.userId,
    key.keyType,
    key.keyData,
    key.streamId,
    key.instanceName,
  ]);
}

/** Makes the hidden device of a local user's key. False when a real device has that id. */
export async function addHiddenDevice(txn: Txn, userId: string, publicKey: string, keyType: CrossSigningKeyType): Promise<boolean> {
  await execute(txn, `INSERT INTO devices (user_id, device_id, display_name, hidden) VALUES ($1, $2, $3, true) ON CONFLICT (user_id, device_id) DO NOTHING`, [
    userId,
    publicKey,
    `${keyType} signing key`,
  ]);
  const row = await queryOne<{ hidden: boolean | null }>(txn, `SELECT hidden FROM devices WHERE user_id = $1 AND device_id = $2`, [userId, publicKey]);
  return row?.hidden === true;
}

/** Whether the user has a master key, and until when (milliseconds) it may be replaced without interactive authentication. */
export async function masterKeyReplaceableUntil(read: ReadHandle, userId: string): Promise<{ exists: boolean; until: number | null }> {
  const row = await queryOne<{ until: number | null }>(
    read,
    `SELECT updatable_without_uia_before_ms AS until FROM e2e_cross_signing_keys
     WHERE user_id = $1 AND keytype = 'master' ORDER BY stream_id DESC LIMIT 1`,
    [userId],
  );
  return { exists: row !== undefined, until: row?.until ?? null };
}

/** Allows the replacement of the user's master key until then (admin API). False when there is none. */
export async function allowMasterKeyReplacement(txn: Txn, userId: string, until: number): Promise<boolean> {
  const touched = await execute(
    txn,
    `UPDATE e2e_cross_signing_keys SET updatable_without_uia_before_ms = $2
     WHERE user_id = $1 AND stream_id = (SELECT max(stream_id) FROM e2e_cross_signing_keys WHERE user_id = $1 AND keytype = 'master')`,
    [userId, until],
  );
  return touched > 0;
}

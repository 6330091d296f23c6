import { execute, query, type ReadHandle, type Txn } from "../database.ts";

/** A key document as fetched: who said it, until when it holds. */
export interface StoredKeyRow {
  readonly server_name: string;
  readonly key_id: string;
  readonly from_server: string;
  readonly ts_added_ms: number;
  readonly ts_valid_until_ms: number;
  /** UTF-8 JSON. */
  readonly key_json: Buffer;
}

/** Documents for these keys; an undefined key id asks for all keys of the server. */
export function storedKeys(read: ReadHandle, wanted: readonly { serverName: string; keyId: string | undefined }[]): Promise<StoredKeyRow[]> {
  return query<StoredKeyRow>(
    read,
    `SELECT k.server_name, k.key_id, k.from_server, k.ts_added_ms, k.ts_valid_until_ms, k.key_json
     FROM unnest($1::text[], $2::text[]) AS wanted (server_name, key_id)
     JOIN server_keys_json AS k ON k.server_name = wanted.server_name AND (wanted.key_id IS NULL OR k.key_id = wanted.key_id)`,
    [wanted.map((key) => key.serverName), wanted.map((key) => key.keyId ?? null)],
  );
}

/** Stores what `fromServer` said about the keys of `serverName`. */
export async function storeKeys(
  txn: Txn,
  document: { serverName: string; fromServer: string; addedTs: number; validUntilTs: number; json: Buffer; keys: ReadonlyMap<string, Buffer> },
): Promise<void> {
  const ids = [...document.keys.keys()];
  const parameters = [document.serverName, document.fromServer, document.addedTs, document.validUntilTs];
  await Promise.all([
    execute(
      txn,
      `INSERT INTO server_keys_json (server_name, key_id, from_server, ts_added_ms, ts_valid_until_ms, key_json)
       SELECT $1, key_id, $2, $3, $4, $6 FROM unnest($5::text[]) AS fetched (key_id)
       ON CONFLICT (server_name, key_id, from_server)
       DO UPDATE SET ts_added_ms = EXCLUDED.ts_added_ms, ts_valid_until_ms = EXCLUDED.ts_valid_until_ms, key_json = EXCLUDED.key_json`,
      [...parameters, ids, document.json],
    ),
    execute(
      txn,
      `INSERT INTO server_signature_keys (server_name, key_id, from_server, ts_added_ms, ts_valid_until_ms, verify_key)
       SELECT $1, fetched.key_id, $2, $3, $4, fetched.verify_key FROM unnest($5::text[], $6::bytea[]) AS fetched (key_id, verify_key)
       ON CONFLICT (server_name, key_id)
       DO UPDATE SET from_server = EXCLUDED.from_server, ts_added_ms = EXCLUDED.ts_added_ms, ts_valid_until_ms = EXCLUDED.ts_valid_until_ms, verify_key = EXCLUDED.verify_key`,
      [...parameters, ids, [...document.keys.values()]],
    ),
  ]);
}

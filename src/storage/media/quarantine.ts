import { execute, query, type ReadHandle, type Txn } from "../database.ts";

/** Media by origin (undefined: this server) and id. */
export interface MediaName {
  readonly origin: string | undefined;
  readonly mediaId: string;
}

/**
 * Puts media, and whatever has the same content, into quarantine (`by`: the admin) or takes it out (null). Protected local media is not put
 * into it. Returns what was touched.
 */
export async function setQuarantine(txn: Txn, media: readonly MediaName[], by: string | null): Promise<MediaName[]> {
  const local = media.filter((one) => one.origin === undefined).map((one) => one.mediaId);
  const remote = media.filter((one) => one.origin !== undefined);
  const given = [local, remote.map((one) => one.origin), remote.map((one) => one.mediaId), by];
  // What has no hash on record is known by its id alone.
  const named = `WITH remote AS (SELECT * FROM unnest($2::text[], $3::text[]) AS given (origin, media_id)),
     hashes AS (
       SELECT m.sha256 FROM local_media_repository AS m WHERE m.media_id = ANY($1::text[]) AND m.sha256 <> '' AND ($4::text IS NULL OR NOT m.safe_from_quarantine)
       UNION SELECT m.sha256 FROM remote_media_cache AS m JOIN remote ON remote.origin = m.media_origin AND remote.media_id = m.media_id WHERE m.sha256 <> ''
     )`;
  const locals = await query<{ media_id: string }>(
    txn,
    `${named} UPDATE local_media_repository AS m SET quarantined_by = $4
      WHERE ((coalesce(m.sha256, '') = '' AND m.media_id = ANY($1::text[])) OR m.sha256 IN (SELECT sha256 FROM hashes)) AND ($4::text IS NULL OR NOT m.safe_from_quarantine)
      RETURNING m.media_id`,
    given,
  );
  const remotes = await query<{ media_origin: string; media_id: string }>(
    txn,
    `${named} UPDATE remote_media_cache AS m SET quarantined_by = $4
      WHERE (coalesce(m.sha256, '') = '' AND (m.media_origin, m.media_id) IN (SELECT origin, media_id FROM remote)) OR m.sha256 IN (SELECT sha256 FROM hashes)
      RETURNING m.media_origin, m.media_id`,
    given,
  );
  return [
    ...locals.map((row) => ({ origin: undefined, mediaId: row.media_id })),
    ...remotes.map((row) => ({ origin: row.media_origin, mediaId: row.media_id })),
  ];
}

/** Notes in the stream of quarantines what went in or out; one position for each. */
export async function insertQuarantineChanges(
  txn: Txn,
  changes: { streamIds: readonly number[]; instanceName: string; media: readonly MediaName[]; quarantined: boolean },
): Promise<void> {
  await execute(
    txn,
    `INSERT INTO quarantined_media_changes (stream_id, instance_name, origin, media_id, quarantined)
     SELECT given.stream_id, $4, given.origin, given.media_id, $5 FROM unnest($1::bigint[], $2::text[], $3::text[]) AS given (stream_id, origin, media_id)`,
    [changes.streamIds, changes.media.map((one) => one.origin ?? null), changes.media.map((one) => one.mediaId), changes.instanceName, changes.quarantined],
  );
}

/** What went into quarantine or out of it at positions in (`after`, `upTo`]; the origin is null for this server. */
export async function quarantineChanges(
  h: ReadHandle,
  after: number,
  upTo: number,
  limit: number,
): Promise<{ stream_id: number; origin: string | null; media_id: string; quarantined: boolean }[]> {
  return await query(
    h,
    "SELECT stream_id, origin, media_id, quarantined FROM quarantined_media_changes WHERE stream_id > $1 AND stream_id <= $2 ORDER BY stream_id LIMIT $3",
    [after, upTo, limit],
  );
}

/** Local media of a user that is not in quarantine. */
export async function freeMediaOfUser(h: ReadHandle, userId: string): Promise<string[]> {
  const rows = await query<{ media_id: string }>(h, "SELECT media_id FROM local_media_repository WHERE user_id = $1 AND quarantined_by IS NULL", [userId]);
  return rows.map((row) => row.media_id);
}

/** Protects local media from quarantine, or no more; false when it is unknown. */
export async function setSafeFromQuarantine(txn: Txn, mediaId: string, safe: boolean): Promise<boolean> {
  return (await execute(txn, "UPDATE local_media_repository SET safe_from_quarantine = $2 WHERE media_id = $1", [mediaId, safe])) > 0;
}

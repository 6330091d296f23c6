import { execute, query, type ReadHandle, type Txn } from "../database.ts";

/** `application_services_state`: whether an appservice answers, and up to where it was told of what is not an event. */
export interface AppserviceState {
  /** undefined: not known yet. */
  readonly state: "up" | "down" | undefined;
  readonly positions: Positions;
}

/** Positions of the streams; undefined: nothing was ever sent of it. */
export interface Positions {
  readonly receipts: number | undefined;
  readonly presence: number | undefined;
  readonly toDevice: number | undefined;
  readonly deviceLists: number | undefined;
}

/** By appservice id; those without a row are left out. */
export async function appserviceStates(read: ReadHandle): Promise<Map<string, AppserviceState>> {
  const rows = await query<{
    as_id: string;
    state: string | null;
    receipts: number | null;
    presence: number | null;
    to_device: number | null;
    device_lists: number | null;
  }>(
    read,
    `SELECT as_id, state, read_receipt_stream_id AS receipts, presence_stream_id AS presence, to_device_stream_id AS to_device, device_list_stream_id AS device_lists
     FROM application_services_state`,
  );
  return new Map(
    rows.map((row) => [
      row.as_id,
      {
        state: row.state === "up" || row.state === "down" ? row.state : undefined,
        positions: {
          receipts: row.receipts ?? undefined,
          presence: row.presence ?? undefined,
          toDevice: row.to_device ?? undefined,
          deviceLists: row.device_lists ?? undefined,
        },
      },
    ]),
  );
}

export async function putAppserviceState(txn: Txn, appserviceId: string, state: "up" | "down"): Promise<void> {
  await execute(txn, `INSERT INTO application_services_state (as_id, state) VALUES ($1, $2) ON CONFLICT (as_id) DO UPDATE SET state = EXCLUDED.state`, [
    appserviceId,
    state,
  ]);
}

/** Positions that are undefined stay as they are. */
export async function putAppservicePositions(txn: Txn, appserviceId: string, positions: Positions): Promise<void> {
  await execute(
    txn,
    `INSERT INTO application_services_state AS stored (as_id, read_receipt_stream_id, presence_stream_id, to_device_stream_id, device_list_stream_id)
     VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (as_id) DO UPDATE SET
       read_receipt_stream_id = coalesce(EXCLUDED.read_receipt_stream_id, stored.read_receipt_stream_id),
       presence_stream_id = coalesce(EXCLUDED.presence_stream_id, stored.presence_stream_id),
       to_device_stream_id = coalesce(EXCLUDED.to_device_stream_id, stored.to_device_stream_id),
       device_list_stream_id = coalesce(EXCLUDED.device_list_stream_id, stored.device_list_stream_id)`,
    [appserviceId, positions.receipts ?? null, positions.presence ?? null, positions.toDevice ?? null, positions.deviceLists ?? null],
  );
}

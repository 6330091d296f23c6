import { execute, query, type Txn } from "../database.ts";
import { positionKeys, SEQUENCE_USES, type StreamWriters } from "./sequences.ts";

/**
 * Removes what an instance leaves behind when it is killed: its locks, and its marks on state groups that it was about to use. At start
 * and at the end of a clean stop, while the instance's lock is held, so that nobody else can be it.
 */
export async function clearLeftovers(txn: Txn, instanceName: string): Promise<void> {
  await execute(txn, "DELETE FROM worker_locks WHERE instance_name = $1", [instanceName]);
  await execute(txn, "DELETE FROM worker_read_write_locks WHERE instance_name = $1", [instanceName]);
  await execute(txn, "DELETE FROM state_groups_persisting WHERE instance_name = $1", [instanceName]);
}

/**
 * The last act of a server on its database, after the last transaction: what the next one, Synapse or Myelin, may expect to find.
 *
 * Every configured writer's stored position is brought to its stream's sequence; a writer that stayed behind would make the next server
 * load everything since then, and wait for it. Push actions that were staged for events which were never stored are dropped. Both only
 * when no other process of this server is still running.
 */
export async function handOver(
  txn: Txn,
  options: { instanceName: string; lastProcess: boolean; writers: StreamWriters },
): Promise<void> {
  await clearLeftovers(txn, options.instanceName);
  if (!options.lastProcess) return;
  await execute(txn, "DELETE FROM event_push_actions_staging");
  const reached = SEQUENCE_USES.filter(({ stream, writers }) => stream !== undefined && writers !== undefined).map(
    ({ stream, sequence, columns }) => `SELECT '${stream}' AS stream_name, ${columns[0]!.negated ? "-" : ""}last_value AS stream_id FROM ${sequence} WHERE is_called`,
  );
  const { streams, instances } = positionKeys(options.writers);
  await query(
    txn,
    `INSERT INTO stream_positions AS stored (stream_name, instance_name, stream_id)
     SELECT configured.stream_name, configured.instance_name, reached.stream_id
     FROM unnest($1::text[], $2::text[]) AS configured (stream_name, instance_name)
     JOIN (${reached.join(" UNION ALL ")}) AS reached USING (stream_name)
     ON CONFLICT (stream_name, instance_name) DO UPDATE SET stream_id = EXCLUDED.stream_id WHERE abs(stored.stream_id) < abs(EXCLUDED.stream_id)`,
    [streams, instances],
  );
}

import { query, queryOne, type ReadHandle } from "../../src/storage/database.ts";
import { APPLICATION_NAME } from "../../src/storage/schema/server-lock.ts";

/** Sessions of Myelin's servers (`myelin master`, ...), not of its tools. */
export async function myelinSessions(h: ReadHandle): Promise<{ application: string }[]> {
  return await query(
    h,
    `SELECT application_name AS application FROM pg_stat_activity
     WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name LIKE $1`,
    [`${APPLICATION_NAME} %`],
  );
}

/** Instances that renewed a lock since then. */
export async function freshLocks(h: ReadHandle, since: number): Promise<string[]> {
  const rows = await query<{ name: string }>(
    h,
    `SELECT instance_name AS name FROM worker_locks WHERE last_renewed_ts > $1
     UNION SELECT instance_name FROM worker_read_write_locks WHERE last_renewed_ts > $1 ORDER BY 1`,
    [since],
  );
  return rows.map(({ name }) => name);
}

/** Locks that were last renewed before then, and those that seem to come from the future. */
export async function staleLocks(h: ReadHandle, before: number): Promise<{ count: number; oldest: number | null; newest: number | null; examples: string[] }> {
  return (await queryOne(
    h,
    `SELECT count(*)::int AS count, min(last_renewed_ts) AS oldest, max(last_renewed_ts) AS newest,
            COALESCE((array_agg(lock_name || ' of ' || instance_name))[1:5], '{}') AS examples
     FROM (SELECT lock_name, instance_name, last_renewed_ts FROM worker_locks
           UNION ALL SELECT lock_name, instance_name, last_renewed_ts FROM worker_read_write_locks) AS locks
     WHERE last_renewed_ts <= $1 OR last_renewed_ts > $1 + 720000`,
    [before],
  ))!;
}

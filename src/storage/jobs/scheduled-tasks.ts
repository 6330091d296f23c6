import { stringifyAscii, type JsonObject } from "../../lib/json.ts";
import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** Work that must be done, now or at a time, also when the server is restarted meanwhile (`scheduled_tasks`). */
export interface ScheduledTask {
  readonly id: string;
  /** Synapse's name of the kind of work: another server on this database must know it. */
  readonly action: string;
  readonly status: TaskStatus;
  /** Milliseconds: when it is due; once it runs, when it was heard of last. */
  readonly timestamp: number;
  readonly resourceId: string | null;
  readonly params: JsonObject | null;
  /** What it has to show, or how far it is. */
  readonly result: JsonObject | null;
  readonly error: string | null;
}

export type TaskStatus = "scheduled" | "active" | "complete" | "failed" | "cancelled";

interface Row extends Omit<ScheduledTask, "params" | "result"> {
  readonly params: string | null;
  readonly result: string | null;
}

const COLUMNS = `id, action, status, "timestamp", resource_id AS "resourceId", params, result, error`;

export async function insertTask(txn: Txn, task: Pick<ScheduledTask, "id" | "action" | "timestamp" | "resourceId" | "params">): Promise<void> {
  await execute(txn, `INSERT INTO scheduled_tasks (id, action, status, "timestamp", resource_id, params) VALUES ($1, $2, 'scheduled', $3, $4, $5)`, [
    task.id,
    task.action,
    task.timestamp,
    task.resourceId,
    task.params === null ? null : stringifyAscii(task.params),
  ]);
}

export async function getTask(h: ReadHandle, id: string): Promise<ScheduledTask | undefined> {
  const row = await queryOne<Row>(h, `SELECT ${COLUMNS} FROM scheduled_tasks WHERE id = $1`, [id]);
  return row === undefined ? undefined : toTask(row);
}

export interface TaskFilter {
  readonly actions?: readonly string[] | undefined;
  readonly resourceId?: string | undefined;
  readonly statuses?: readonly TaskStatus[] | undefined;
  /** Tasks not younger than this (milliseconds). */
  readonly until?: number | undefined;
  readonly limit?: number | undefined;
}

/** Tasks that fit, oldest first. */
export async function getTasks(h: ReadHandle, filter: TaskFilter): Promise<ScheduledTask[]> {
  const rows = await query<Row>(
    h,
    `SELECT ${COLUMNS} FROM scheduled_tasks
     WHERE ($1::text[] IS NULL OR action = ANY($1)) AND ($2::text IS NULL OR resource_id = $2) AND ($3::text[] IS NULL OR status = ANY($3))
       AND ($4::bigint IS NULL OR "timestamp" <= $4)
     ORDER BY "timestamp" LIMIT $5`,
    [filter.actions ?? null, filter.resourceId ?? null, filter.statuses ?? null, filter.until ?? null, filter.limit ?? null],
  );
  return rows.map(toTask);
}

/** Takes a task that is due, or that was running when the server stopped; false when it was cancelled meanwhile. */
export async function activateTask(txn: Txn, id: string, now: number): Promise<boolean> {
  return (
    (await execute(txn, `UPDATE scheduled_tasks SET status = 'active', "timestamp" = $2 WHERE id = $1 AND status IN ('scheduled', 'active')`, [id, now])) > 0
  );
}

/** Notes how far a running task is; false when it was cancelled. */
export async function saveTaskResult(txn: Txn, id: string, result: JsonObject, now: number): Promise<boolean> {
  return (
    (await execute(txn, `UPDATE scheduled_tasks SET result = $2, "timestamp" = $3 WHERE id = $1 AND status = 'active'`, [id, stringifyAscii(result), now])) > 0
  );
}

/** The end of a running task; a cancelled one stays cancelled. `result` undefined: stays as it is. */
export async function finishTask(
  txn: Txn,
  id: string,
  end: { status: "complete" | "failed"; result: JsonObject | undefined; error: string | undefined; now: number },
): Promise<void> {
  await execute(
    txn,
    `UPDATE scheduled_tasks SET status = $2, result = coalesce($3, result), error = $4, "timestamp" = $5 WHERE id = $1 AND status = 'active'`,
    [id, end.status, end.result === undefined ? null : stringifyAscii(end.result), end.error?.replaceAll("\0", "") ?? null, end.now],
  );
}

/** Cancels what waits or runs of an action for a resource. */
export async function cancelTasks(txn: Txn, action: string, resourceId: string, now: number): Promise<void> {
  await execute(
    txn,
    `UPDATE scheduled_tasks SET status = 'cancelled', "timestamp" = $3 WHERE action = $1 AND resource_id = $2 AND status IN ('scheduled', 'active')`,
    [action, resourceId, now],
  );
}

/** Deletes tasks that ended before that time. */
export async function deleteEndedTasks(txn: Txn, before: number): Promise<void> {
  await execute(txn, `DELETE FROM scheduled_tasks WHERE status IN ('complete', 'failed', 'cancelled') AND "timestamp" <= $1`, [before]);
}

function toTask(row: Row): ScheduledTask {
  const parse = (text: string | null): JsonObject | null => (text === null ? null : (JSON.parse(text) as JsonObject));
  return { ...row, params: parse(row.params), result: parse(row.result) };
}

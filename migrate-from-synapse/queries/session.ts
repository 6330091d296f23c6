import { query, type Txn } from "../../src/storage/database.ts";

/** Never waits for a lock for long: whoever wants to change a table would wait behind us. */
export async function useReadOnlySession(txn: Txn): Promise<void> {
  await query(txn, "SET LOCAL lock_timeout TO 2000; SET LOCAL max_parallel_workers_per_gather TO 0");
}

export async function beginCheck(txn: Txn): Promise<void> {
  await query(txn, "SAVEPOINT one_check");
}

export async function keepCheck(txn: Txn): Promise<void> {
  await query(txn, "RELEASE SAVEPOINT one_check");
}

export async function undoCheck(txn: Txn): Promise<void> {
  await query(txn, "ROLLBACK TO SAVEPOINT one_check; RELEASE SAVEPOINT one_check");
}

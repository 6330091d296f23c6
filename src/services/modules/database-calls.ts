import { execute, query, type Txn } from "../../storage/database.ts";

/** The database in a module's hands, for one transaction. Tables of the module's own are its own affair; the server's are the server's. */
export class ModuleTransaction {
  constructor(private readonly txn: Txn) {}

  /** The rows of a statement, placeholders `$1`, `$2`, ... */
  async query(sql: string, params: readonly unknown[] = []): Promise<Record<string, unknown>[]> {
    return await query(this.txn, sql, params);
  }

  /** How many rows the statement touched. */
  async execute(sql: string, params: readonly unknown[] = []): Promise<number> {
    return await execute(this.txn, sql, params);
  }
}

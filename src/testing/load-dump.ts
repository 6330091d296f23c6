import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import type pg from "pg";

/** Loads a plain `pg_dump` file (`.sql` or `.sql.gz`) over `client`, as psql would. */
export async function loadDump(client: pg.Client, file: string): Promise<void> {
  const bytes = readFileSync(file);
  const text = (file.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString("utf8");
  let statements: string[] = [];
  const flush = async (): Promise<void> => {
    const sql = statements.join("\n");
    statements = [];
    if (sql.trim() !== "") await client.query(sql);
  };
  let start = 0;
  while (start < text.length) {
    const newline = text.indexOf("\n", start);
    const end = newline === -1 ? text.length : newline;
    const line = text.slice(start, end);
    start = end + 1;
    if (line.startsWith("COPY ") && line.endsWith(" FROM stdin;")) {
      await flush();
      const last = text.startsWith("\\.\n", start) ? start : text.indexOf("\n\\.\n", start) + 1;
      await copyIn(client, line, text.slice(start, last));
      start = last + 3;
    } else if (!line.startsWith("\\")) {
      // Lines that begin with a backslash are psql's own commands.
      statements.push(line);
    }
  }
  await flush();
}

interface CopyConnection {
  query(text: string): void;
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
}

/** One `COPY ... FROM stdin`, in the shape in which pg takes queries of one's own. */
function copyIn(client: pg.Client, sql: string, rows: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let failure: Error | undefined;
    client.query({
      submit: (connection: CopyConnection) => connection.query(sql),
      handleCopyInResponse: (connection: CopyConnection) => {
        connection.sendCopyFromChunk(Buffer.from(rows));
        connection.endCopyFrom();
      },
      handleCommandComplete: () => {},
      handleError: (error: Error) => {
        failure ??= error;
        reject(error);
      },
      handleReadyForQuery: () => (failure ? reject(failure) : resolve()),
    } as unknown as pg.Submittable);
  });
}

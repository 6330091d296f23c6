import type { ConfigReader } from "../reader.ts";

/** Myelin's own options, under one key that Synapse ignores (`myelin`). */
export type MyelinConfig = ReturnType<typeof parseMyelin>;

export function parseMyelin(root: ConfigReader) {
  const raw = root.object("myelin");
  return {
    /** Processes that share the ports of one machine; 1: a single process. */
    processes: raw.integer("processes", 1, { min: 1, max: 256 }),
    /** A Postgres started and stopped with the server, below the data directory; `database` is then not read. */
    embeddedPostgres: raw.filePath("embedded_postgres", { dataDir: "/" }),
  };
}

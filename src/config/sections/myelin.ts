import type { ConfigReader, ParseContext } from "../reader.ts";

/** Myelin's own options, under one key that Synapse ignores (`myelin`). */
export type MyelinConfig = ReturnType<typeof parseMyelin>;

export function parseMyelin(root: ConfigReader, ctx: ParseContext) {
  const raw = root.object("myelin");
  return {
    /** Folder of a Postgres that is started and stopped with the server, instead of `database`. */
    embeddedPostgres: raw.filePath("embedded_postgres", ctx),
    /** Start although clients are connected to the database that look like a Synapse at work. */
    allowOtherClients: raw.boolean("allow_other_clients", false),
  };
}

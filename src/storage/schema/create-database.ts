import pg from "pg";

/**
 * Makes the database when the server has none of that name, as Synapse wants it: UTF8, collation and character type C.
 * For servers of our own; an admin's server is left as it is.
 */
export async function createDatabaseIfMissing(server: { host: string; port: number; user: string; password: string }, name: string): Promise<void> {
  const client = new pg.Client({ ...server, database: "postgres" });
  await client.connect();
  try {
    const { rowCount } = await client.query("SELECT 1 FROM pg_database WHERE datname = $1", [name]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${client.escapeIdentifier(name)} ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`);
  } finally {
    await client.end();
  }
}

import { dropLeaked, stopTestDatabases } from "./database.ts";

/** Hooks of the whole run: a database that a test did not drop fails it, and the embedded Postgres is stopped. */
export const mochaHooks = {
  async afterAll(this: Mocha.Context): Promise<void> {
    this.timeout(60_000);
    const leaked = await dropLeaked();
    if (leaked.length > 0) throw new Error(`${leaked.length} test databases were not dropped; made\n${leaked.join("\n")}`);
  },
};

export async function mochaGlobalTeardown(): Promise<void> {
  await stopTestDatabases();
}

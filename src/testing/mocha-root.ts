import { dropLeaked, stopTestDatabases } from "./database.ts";
import { Contract } from "./openapi/contract.ts";

/** Hooks of the whole run: a database that a test did not drop fails it, an operation that no test asks for, too; the embedded Postgres is stopped. */
export const mochaHooks = {
  async afterAll(this: Mocha.Context): Promise<void> {
    this.timeout(60_000);
    const leaked = await dropLeaked();
    if (leaked.length > 0) throw new Error(`${leaked.length} test databases were not dropped; made\n${leaked.join("\n")}`);
    if (process.env["MYELIN_WHOLE_RUN"] !== "1") return;
    const { unanswered } = Contract.ofSpecification();
    if (unanswered.length > 0) throw new Error(`Operations of the specification that no test was granted: ${unanswered.join(", ")}`);
  },
};

export async function mochaGlobalTeardown(): Promise<void> {
  await stopTestDatabases();
}

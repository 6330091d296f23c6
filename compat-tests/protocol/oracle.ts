import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { stringify } from "../../src/lib/json.ts";
import type { MatrixEvent } from "../../src/protocol/event/event.ts";
import { installSynapse } from "../harness/synapse.ts";

export interface OracleEvent {
  readonly json: unknown;
  readonly rejected?: string | undefined;
}

export const forOracle = (event: MatrixEvent): OracleEvent => ({
  json: event.json,
  ...(event.rejectedReason !== undefined && { rejected: event.rejectedReason }),
});

/** Answers of Synapse's own functions to a list of cases; see oracle.py. */
export function askSynapse<T>(question: "authorise" | "resolve", cases: readonly unknown[]): T[] {
  const script = fileURLToPath(new URL("./oracle.py", import.meta.url));
  const answer = execFileSync(installSynapse(), [script, question], { input: stringify(cases), maxBuffer: 1 << 30, encoding: "utf8" });
  return JSON.parse(answer) as T[];
}

import type { ServerKind } from "./harness/server.ts";
import { installSynapse, SynapseUnavailable } from "./harness/synapse.ts";

/**
 * The two servers of a run: A makes, B takes over. By default Synapse and Myelin; COMPAT_A and COMPAT_B choose others. Both as
 * `synapse` proves the tests themselves: what differs then is a fault of the comparison.
 */
export function sides(): { a: ServerKind; b: ServerKind } {
  const kind = (name: string, fallback: ServerKind): ServerKind => {
    const value = process.env[name] ?? fallback;
    if (value !== "synapse" && value !== "myelin") throw new Error(`${name} is neither synapse nor myelin`);
    return value;
  };
  return { a: kind("COMPAT_A", "synapse"), b: kind("COMPAT_B", "myelin") };
}

/** Skips the suite, with the reason, when one of the servers cannot be had on this machine. */
export function requireServers(suite: Mocha.Context, ...kinds: ServerKind[]): void {
  if (!kinds.includes("synapse")) return;
  try {
    installSynapse();
  } catch (error) {
    if (!(error instanceof SynapseUnavailable)) throw error;
    process.stderr.write(`    skipped: ${error.message}\n`);
    suite.skip();
  }
}

import type { DatabaseCheck } from "../context.ts";
import { blocker, count, type Draft, duration, note, ok, warning } from "../finding.ts";
import { findSynapseSessions } from "../../src/storage/schema/server-lock.ts";
import { myelinSessions, freshLocks, staleLocks } from "../queries/live.ts";

/** Risks 15, 24, 72 and 96: nothing in Synapse's database keeps two servers from it. */
const live: DatabaseCheck = {
  name: "live-server",
  risks: [15, 24, 72, 96],
  withoutSchema: true,
  async run({ read, facts, target }) {
    const found: Draft[] = [];
    const synapse = await findSynapseSessions(read);
    const myelin = await myelinSessions(read);
    if (synapse.length > 0 && myelin.length > 0) {
      const why = "Two servers on one database destroy it: ids are given out twice, caches are stale.";
      found.push(
        blocker("risk-72", { what: "A Synapse and a Myelin are connected to the database at once", why, todo: "Stop one of them at once, and check again." }),
      );
    } else if (synapse.length > 0) {
      const places = [...new Set(synapse.map(({ client }) => client ?? "this machine"))].join(", ");
      const what = `Synapse is at work on the database: ${count(synapse.length, "session")} from ${places}`;
      const todo = target === "myelin" ? "Stop Synapse and all its workers before Myelin starts." : "Nothing: it is Synapse that is to run.";
      found.push(note("risk-72", { what, why: "The check is made beside it and changes nothing; two servers at once destroy the database.", todo }));
    } else if (myelin.length > 0) {
      const todo =
        target === "synapse"
          ? "Stop Myelin before Synapse starts, and check once more: it hands over when it stops."
          : "Nothing, if that is the Myelin you mean.";
      found.push(
        note("risk-72", {
          what: `Myelin is at work on the database: ${count(myelin.length, "session")}`,
          why: "The check is made beside it and changes nothing; two servers at once destroy the database.",
          todo,
        }),
      );
    }
    const fresh = facts.tables.has("worker_locks") ? await freshLocks(read, facts.now - 120_000) : [];
    if (fresh.length > 0 && synapse.length === 0 && myelin.length === 0) {
      const why = "Locks were renewed a moment ago, though no server is connected: it was killed, or works through a pooler.";
      found.push(
        note("risk-72", {
          what: `${fresh.join(", ")} held locks less than two minutes ago`,
          why,
          todo: "Make sure that it is stopped; locks end by themselves after two minutes.",
        }),
      );
    }
    return found.length > 0 ? found : [ok("risk-72", "No server is connected to the database")];
  },
};

/** Risk 73. */
const locks: DatabaseCheck = {
  name: "locks",
  risks: [73],
  async run({ read, facts }) {
    const stale = await staleLocks(read, facts.now - 120_000);
    if (stale.count === 0) return [ok("risk-73", "No lock was left behind")];
    const words = {
      what: `${count(stale.count, "lock was", "locks were")} left behind by a server that was killed`,
      why: "They count for nothing two minutes after they were last renewed.",
      todo: "Nothing: whoever wants one takes it over.",
      examples: stale.examples,
    };
    const ahead = stale.oldest !== null && stale.newest !== null && stale.newest > facts.now + 600_000;
    if (!ahead) return [note("risk-73", words)];
    const why = `They were renewed ${duration(stale.newest! - facts.now)} in the future, and hold until then.`;
    return [warning("risk-73", { ...words, why, todo: "Set the clocks right; while no server runs, delete these rows." })];
  },
};

export const liveChecks: readonly DatabaseCheck[] = [live, locks];

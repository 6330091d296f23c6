import type { DatabaseCheck } from "../context.ts";
import { bytes, count, type Draft, note, ok, thousands } from "../finding.ts";
import { deadRows, largestTables, neverAnalysed, type TableSize } from "../queries/sizes.ts";
import { groupSizes } from "../queries/state.ts";

const describe = ({ name, bytes: size, rows }: TableSize): string => `${name} ${bytes(size)}${rows > 0 ? ` (about ${thousands(rows)} rows)` : ""}`;

const sizes: DatabaseCheck = {
  name: "table-sizes",
  risks: [69],
  async run({ read, facts }) {
    const tables = await largestTables(read, 6);
    const found: Draft[] = [ok("sizes", `The database has ${bytes(facts.size)}; the largest tables: ${tables.map(describe).join(", ")}`)];
    const state = tables.find(({ name }) => name === "state_groups_state");
    const { rows, groups } = await groupSizes(read);
    const ratio = groups > 0 ? rows / groups : 0;
    if (state !== undefined && state.bytes > 500_000_000 && state.bytes > facts.size * 0.25) {
      found.push(
        note("risk-69", {
          what: `state_groups_state is ${bytes(state.bytes)} of ${bytes(facts.size)}, ${ratio.toFixed(0)} rows for each state group`,
          why: "Its rows can be compressed, often to a tenth. Both servers read what the compressor leaves.",
          todo: "Run `myelin synapse_auto_compressor` (or Synapse's tool of that name), also beside a running server; then VACUUM FULL (or pg_repack) this table.",
        }),
      );
    } else found.push(ok("risk-69", "State takes no more room than it should"));
    const push = tables.find(({ name }) => name === "event_push_actions");
    if (push !== undefined && push.bytes > 1_000_000_000) {
      found.push(
        note("sizes", {
          what: `event_push_actions has ${bytes(push.bytes)}`,
          why: "Notifications of read messages are dropped after a day; so many are left where rotation is behind, or users never read.",
          todo: "Deactivate accounts that nobody uses; then VACUUM this table.",
        }),
      );
    }
    const dead = await deadRows(read);
    if (dead.length > 0) {
      const examples = dead.map(({ name, dead: n, live }) => `${name}: ${thousands(n)} dead, ${thousands(live)} alive`);
      found.push(
        note("dead-rows", {
          what: `${count(dead.length, "large table is", "large tables are")} full of dead rows`,
          why: "Reads go through them; autovacuum does not keep up.",
          todo: "VACUUM (ANALYZE) these tables; look for long transactions and at autovacuum's settings.",
          examples,
        }),
      );
    }
    const blind = await neverAnalysed(read);
    if (blind.length > 0) {
      found.push(
        note("statistics", {
          what: `${count(blind.length, "large table was", "large tables were")} never analysed`,
          why: "Postgres plans without knowing them: slow queries, most of all after a restore or an upgrade.",
          todo: "Run ANALYZE on the database.",
          examples: blind.slice(0, 8),
        }),
      );
    }
    return found;
  },
};

export const sizeChecks: readonly DatabaseCheck[] = [sizes];

import { positionKeys } from "../../src/storage/schema/sequences.ts";
import type { CheckContext, DatabaseCheck } from "../context.ts";
import { blocker, count, type Draft, note, ok, thousands, warning } from "../finding.ts";
import { instanceNames, recentWriters, sequenceRows, type SequenceRow, storedPositions } from "../queries/streams.ts";

const INT4_MAX = 2_147_483_647;
/** So far apart, a server reads many rows at its start. */
const FAR = 10_000;

/** Risks 16 to 18, 23, 26, 27 and 99: what a restore, a fail-over or another tool leaves behind. */
const sequences: DatabaseCheck = {
  name: "sequences",
  risks: [16, 17, 18, 23, 26, 27, 99],
  async run({ read, target, facts }) {
    const rows = await sequenceRows(read, facts);
    const behind = rows.filter(({ highest, at }) => highest !== null && highest > at);
    const heal = target === "myelin" ? "Myelin moves it up at its start, and never back." : "";
    const positions = behind.filter(({ place }) => place === "positions");
    const calls = behind.filter(({ place }) => place === "first call");
    const streams = behind.filter(({ place, stream }) => place.includes(".") && stream !== null);
    const others = behind.filter(({ place, stream }) => place.includes(".") && stream === null);
    const found: Draft[] = [];
    if (positions.length > 0) {
      const draft = target === "synapse" ? blocker : warning;
      const why = target === "synapse" ? "Synapse refuses to start." : `Synapse would refuse to start. ${heal}`;
      found.push(
        draft("risk-16", {
          what: `${count(positions.length, "sequence is", "sequences are")} behind stored stream positions`,
          why,
          todo: setval(positions),
          examples: positions.map(describe),
        }),
      );
    }
    if (streams.length > 0) {
      const why = heal || "Ids would be given out a second time; Synapse moves it up at its start and warns.";
      found.push(
        warning("risk-17", {
          what: `${count(streams.length, "sequence is", "sequences are")} behind ${streams.length === 1 ? "its table" : "their tables"}`,
          why: `Rows were restored without it. ${why}`,
          todo: setval(streams),
          examples: streams.map(describe),
        }),
      );
    }
    if (calls.length > 0) {
      const why = `The first row of such a stream would not be shown to anybody. ${heal}`.trim();
      found.push(
        warning("risk-18", {
          what: `${count(calls.length, "sequence was", "sequences were")} never called`,
          why,
          todo: setval(calls),
          examples: calls.map(({ sequence }) => sequence),
        }),
      );
    }
    if (others.length > 0) {
      const heals = heal || "Synapse moves those of state groups, chains and transactions up at its start, and warns.";
      found.push(
        warning("risk-23", {
          what: `${count(others.length, "sequence is", "sequences are")} behind ${others.length === 1 ? "its table" : "their tables"}`,
          why: `Numbers of state groups or auth chains would be given out a second time: rooms with each other's state. ${heals}`,
          todo: setval(others),
          examples: others.map(describe),
        }),
      );
    }
    const high = new Map(rows.filter(({ int4, at }) => int4 && at > INT4_MAX / 2).map((row) => [row.sequence, row]));
    for (const { sequence, at } of high.values()) {
      const todo = "Set the sequence back to the largest id of its table, while no server runs.";
      const words = {
        what: `${sequence} stands at ${thousands(at)}, and its column ends at ${thousands(INT4_MAX)}`,
        why: "When it is full, nothing of this kind can be stored.",
        todo,
      };
      found.push(at >= INT4_MAX ? blocker("risk-26", words) : warning("risk-26", words));
    }
    const all = new Set(rows.map(({ sequence }) => sequence)).size;
    return found.length > 0 ? found : [ok("risk-17", `All ${all} sequences are ahead of their tables and stored positions`)];
  },
};

const describe = ({ sequence, at, highest, place, stream }: SequenceRow): string =>
  `${sequence} at ${at}, ${place === "positions" ? `stream_positions of ${stream}` : place} at ${highest}`;

/** The statement that mends it; never `stream_positions`. */
function setval(rows: readonly SequenceRow[]): string {
  const needed = new Map<string, number>();
  for (const { sequence, highest } of rows) needed.set(sequence, Math.max(highest ?? 0, needed.get(sequence) ?? 0));
  return `While no server runs: SELECT ${[...needed]
    .slice(0, 3)
    .map(([name, value]) => `setval('${name}', ${value})`)
    .join(", ")}${needed.size > 3 ? ", ..." : ""};`;
}

/** Instances that the configuration names, as they stand in the database. */
function configured({ config }: CheckContext): Set<string> {
  const { workers } = config;
  const names = [
    ...Object.keys(workers.instanceMap),
    ...Object.values(workers.streamWriters).flat(),
    ...workers.federationSenderInstances,
    ...workers.pusherInstances,
  ];
  return new Set(["master", workers.instanceName, ...names]);
}

/** Risks 20, 21 and 29. */
const positions: DatabaseCheck = {
  name: "stream-positions",
  risks: [20, 21, 29],
  async run(ctx) {
    const found: Draft[] = [];
    const stored = await storedPositions(ctx.read);
    const { streams, instances } = positionKeys(ctx.config.workers.streamWriters);
    const wanted = new Set(streams.map((stream, index) => `${stream} of ${instances[index]}`));
    const known = new Set(streams);
    const foreign = stored.filter(({ stream, instance }) => known.has(stream) && !wanted.has(`${stream} of ${instance}`));
    if (foreign.length > 0) {
      found.push(
        note("risk-21", {
          what: `${count(foreign.length, "stored position is", "stored positions are")} of writers that the configuration does not name`,
          why: "They are deleted at start, by Synapse and by Myelin.",
          todo: "If these workers still exist, name them in `stream_writers`; else nothing.",
          examples: foreign.map(({ stream, instance }) => `${stream} of ${instance}`),
        }),
      );
    }
    const reached = new Map((await sequenceRows(ctx.read, ctx.facts)).flatMap(({ stream, at }) => (stream === null ? [] : [[stream, at] as const])));
    const spread = spreads(
      stored.filter(({ stream, instance }) => wanted.has(`${stream} of ${instance}`)),
      reached,
    );
    const far = spread.filter(({ apart }) => apart > FAR);
    if (far.length > 0) {
      found.push(
        warning("risk-20", {
          what: `${count(far.length, "stream has", "streams have")} a writer whose stored position stayed far behind`,
          why: "The next server reads all rows since then at its start, and shows nothing newer until that writer has written.",
          todo: "Stop all workers cleanly, and check again; a worker that does not exist any more leaves `stream_writers`.",
          examples: far.map(({ stream, apart }) => `${stream}: ${thousands(apart)} apart`),
        }),
      );
    }
    const turned = stored.filter(({ stream, position }) => (stream === "backfill" ? position > 1 : position < -1));
    if (turned.length > 0) {
      found.push(
        warning("risk-29", {
          what: `${count(turned.length, "stored position has", "stored positions have")} the wrong sign`,
          why: "Positions of `backfill` are negative, all others positive: history would look new, or new events old.",
          todo: "While no server runs, give them the right sign.",
          examples: turned.map(({ stream, instance, position }) => `${stream} of ${instance}: ${position}`),
        }),
      );
    }
    return found.length > 0 ? found : [ok("risk-20", `The stored positions of ${known.size} streams are as their writers left them`)];
  },
};

/** How far the slowest writer of each stream is behind the stream. */
function spreads(stored: readonly { stream: string; position: number }[], reached: ReadonlyMap<string, number>): { stream: string; apart: number }[] {
  const slowest = new Map<string, number>();
  for (const { stream, position } of stored) slowest.set(stream, Math.min(Math.abs(position), slowest.get(stream) ?? Infinity));
  return [...slowest].map(([stream, position]) => ({ stream, apart: (reached.get(stream) ?? position) - position }));
}

/** Risk 19. */
const writers: DatabaseCheck = {
  name: "writers",
  risks: [19],
  async run(ctx) {
    const names = configured(ctx);
    const foreign = (await recentWriters(ctx.read, 2000)).filter(({ instance }) => !names.has(instance));
    if (foreign.length === 0) return [ok("risk-19", "New rows were written by instances that the configuration names")];
    return [
      warning("risk-19", {
        what: `New rows were written by ${count(new Set(foreign.map(({ instance }) => instance)).size, "instance")} that the configuration does not name`,
        why: "Their positions are not looked at any more: rows of theirs could be missed by sync.",
        todo: "Give --config-path the files that Synapse runs with; if the worker is gone for good, nothing.",
        examples: foreign.map(({ instance, table }) => `${instance} in ${table}`),
      }),
    ];
  },
};

/** Risk 28. */
const instances: DatabaseCheck = {
  name: "instance-numbers",
  risks: [28],
  async run({ read }) {
    const names = await instanceNames(read);
    if (names.length === 0) return [ok("risk-28", "No tokens hold numbers of instances")];
    return [ok("risk-28", `Numbers in tokens stand for ${names.map(({ id, name }) => `${name} (${id})`).join(", ")}`)];
  },
};

export const streamChecks: readonly DatabaseCheck[] = [sequences, positions, writers, instances];

import type { DatabaseCheck } from "../context.ts";
import { blocker, bytes, type Draft, duration, note, ok, warning } from "../finding.ts";
import { collationVersions, defaultSettings } from "../queries/facts.ts";

const version: DatabaseCheck = {
  name: "postgres-version",
  risks: [1],
  withoutSchema: true,
  run: async ({ facts }) =>
    facts.version >= 140_000
      ? [ok("risk-01", `Postgres is ${facts.release}`)]
      : [
          blocker("risk-01", {
            what: `Postgres is ${facts.release}`,
            why: "Synapse 1.160 and Myelin need 14 or newer.",
            todo: "Upgrade the Postgres server first.",
          }),
        ],
};

const encoding: DatabaseCheck = {
  name: "encoding",
  risks: [2],
  withoutSchema: true,
  run: async ({ facts }) =>
    facts.encoding === "UTF8"
      ? [ok("risk-02", "The encoding of the database is UTF8")]
      : [
          blocker("risk-02", {
            what: `The encoding of the database is ${facts.encoding}`,
            why: "Neither Synapse nor Myelin starts on another than UTF8.",
            todo: "Dump it and load it into a database made with ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0.",
          }),
        ],
};

const collation: DatabaseCheck = {
  name: "collation",
  risks: [3],
  withoutSchema: true,
  async run({ config, facts, read }) {
    if (facts.collate === "C" && facts.ctype === "C") return [ok("risk-03", "Collation and character type of the database are C")];
    const what = `Collation and character type of the database are ${facts.collate} and ${facts.ctype}, not C`;
    const todo = "Dump it and load it into a database made with LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0.";
    if (!config.database.allowUnsafeLocale)
      return [blocker("risk-03", { what, why: "Neither Synapse nor Myelin starts on it.", todo: `${todo} Or set \`database.allow_unsafe_locale: true\`.` })];
    const found = [warning("risk-03", { what, why: "Allowed by allow_unsafe_locale; its indexes break when the operating system's locales change.", todo })];
    const versions = facts.version >= 150_000 ? await collationVersions(read) : undefined;
    if (versions?.stored != null && versions.actual != null && versions.stored !== versions.actual) {
      found.push(
        blocker("risk-03", {
          what: `The locales of the operating system have changed since the database was made (${versions.stored} to ${versions.actual})`,
          why: "Indexes on text are out of order: rows are not found, or stored twice.",
          todo: "REINDEX DATABASE, then ALTER DATABASE ... REFRESH COLLATION VERSION.",
        }),
      );
    }
    return found;
  },
};

const standby: DatabaseCheck = {
  name: "standby",
  risks: [],
  withoutSchema: true,
  run: async ({ facts }) =>
    facts.standby
      ? [
          note("standby", {
            what: "This Postgres is a standby: it can be read, not written",
            why: "The check may be made here; the server cannot run here.",
            todo: "Let the configuration of the server name the primary.",
          }),
        ]
      : [],
};

const SETTINGS = [
  "default_transaction_isolation",
  "default_transaction_read_only",
  "statement_timeout",
  "idle_in_transaction_session_timeout",
  "synchronous_commit",
  "max_connections",
  "shared_buffers",
  "fsync",
  "full_page_writes",
];

/** Risks 11 and 12; `SHOW` would tell what our own session has set. */
const settings: DatabaseCheck = {
  name: "settings",
  risks: [11, 12],
  withoutSchema: true,
  async run({ config, facts, read }) {
    const found: Draft[] = [];
    const values = await defaultSettings(read, SETTINGS);
    const value = (name: string): string => values.get(name)?.value ?? "";
    const isolation = value("default_transaction_isolation");
    if (isolation !== "read committed") {
      const todo = "Nothing; other programs on this server may want to know.";
      found.push(
        note("risk-11", { what: `default_transaction_isolation is ${isolation}`, why: "Myelin and Synapse ask for REPEATABLE READ themselves.", todo }),
      );
    } else found.push(ok("risk-11", "Transactions are isolated as Myelin and Synapse ask for it"));
    if (value("default_transaction_read_only") === "on") {
      found.push(
        blocker("risk-12", {
          what: "default_transaction_read_only is on for this user or database",
          why: "Nothing could be written.",
          todo: "ALTER ROLE (or DATABASE) ... RESET default_transaction_read_only.",
        }),
      );
    }
    if (value("fsync") === "off" || value("full_page_writes") === "off") {
      const name = value("fsync") === "off" ? "fsync" : "full_page_writes";
      found.push(
        note("risk-12", {
          what: `${name} is off on this Postgres`,
          why: "A power failure can destroy the database.",
          todo: `Set \`${name} = on\` in postgresql.conf, unless the data may be lost.`,
        }),
      );
    }
    const { poolSize, statementTimeoutMs, idleInTransactionSessionTimeoutMs, synchronousCommit, port, host } = config.database.connection;
    if (Number(value("max_connections")) < poolSize + 10) {
      const todo = "Raise max_connections, or lower cp_max.";
      found.push(
        warning("risk-12", { what: `max_connections is ${value("max_connections")}, and cp_max ${poolSize}`, why: "Connections would run out.", todo }),
      );
    }
    const pages = Number(value("shared_buffers"));
    if (pages * 8192 < 256 * 1024 * 1024 && facts.size > 2_000_000_000) {
      const todo = "Set it to about a quarter of the machine's memory.";
      found.push(
        note("settings", {
          what: `shared_buffers is ${bytes(pages * 8192)} for a database of ${bytes(facts.size)}`,
          why: "Postgres reads from the disk what it could keep.",
          todo,
        }),
      );
    }
    if (facts.serverPort !== null && !host.startsWith("/") && facts.serverPort !== port) {
      const todo = "Use pooling by session, or connect directly: Myelin holds a lock for as long as it runs.";
      found.push(
        warning("risk-12", {
          what: `Between here and Postgres stands a pooler (port ${port} here, ${facts.serverPort} there)`,
          why: "Pooling by transaction mixes the settings of sessions, and loses the server's lock.",
          todo,
        }),
      );
    }
    const timeout = (ms: number): string => (ms === 0 ? "none" : duration(ms));
    found.push(
      ok(
        "risk-12",
        `Sessions of the server: statement timeout ${timeout(statementTimeoutMs)}, idle transactions ${timeout(idleInTransactionSessionTimeoutMs)}, synchronous_commit ${synchronousCommit ? "on" : "off"}`,
      ),
    );
    return found;
  },
};

/** Risk 100, the part that the clocks tell. */
const clocks: DatabaseCheck = {
  name: "clock",
  risks: [100],
  withoutSchema: true,
  async run({ facts, clock }) {
    const apart = Math.abs(clock.now() - facts.now);
    // The facts were read a while ago.
    if (apart < 120_000) return [ok("risk-100", "The clocks of this machine and of the database agree")];
    return [
      warning("risk-100", {
        what: `The clocks of this machine and of the database are ${duration(apart)} apart`,
        why: "Locks, tokens and retention go by the time of day.",
        todo: "Set both by NTP.",
      }),
    ];
  },
};

export const serverChecks: readonly DatabaseCheck[] = [version, encoding, collation, standby, settings, clocks];

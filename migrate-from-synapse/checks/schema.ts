import { expectedCatalogue, type Catalogue } from "../../src/storage/schema/catalogue-file.ts";
import { describeCatalogue, type Difference, differences } from "../../src/storage/schema/compare.ts";
import { DELTAS, OLDEST_VERSION, SCHEMA_VERSION } from "../../src/storage/schema/deltas.ts";
import { missingDeltas } from "../../src/storage/schema/open.ts";
import type { CheckContext, DatabaseCheck } from "../context.ts";
import { blocker, bytes, count, type Draft, note, ok, warning } from "../finding.ts";
import { moduleSchemas } from "../queries/facts.ts";
import { foreignKeysTo, mandatoryColumns, ownTables, pendingUpdates } from "../queries/schema.ts";

const versions: DatabaseCheck = {
  name: "schema-version",
  risks: [5, 6],
  withoutSchema: true,
  async run({ facts, target }) {
    const { schema } = facts;
    if (schema === undefined || !facts.tables.has("events")) {
      const elsewhere = facts.schemas.filter((name) => name !== facts.currentSchema);
      if (elsewhere.length > 0) {
        const what = `Synapse's tables lie in the schema ${elsewhere.join(" and ")}, and sessions of ${facts.user} look into ${facts.currentSchema ?? "none"}`;
        const todo = `ALTER ROLE "${facts.user}" SET search_path TO ${elsewhere[0]!}; or set \`database.args.options\`.`;
        return [blocker("risk-06", { what, why: "The server would find an empty database: a schema of the user's own name comes first.", todo })];
      }
      const mine = [...facts.tables].filter((name) => name in expectedCatalogue().tables).length;
      if (mine === 0 && target === "myelin") {
        const todo = "Nothing for a new server; for a swap name the database that Synapse uses.";
        return [
          note("risk-06", { what: `The database ${facts.database} is empty of Synapse's tables`, why: "Myelin would make them, for a new server.", todo }),
        ];
      }
      const todo = mine === 0 ? "Name the database that the server uses." : "Restore it from a complete dump.";
      return [
        blocker("risk-06", {
          what: `The database ${facts.database} has no schema version${mine === 0 ? "" : ` but ${mine} of Synapse's tables`}`,
          why: "It is not what a server left: another database, or half a restore.",
          todo,
        }),
      ];
    }
    const found: Draft[] = [];
    const range = `version ${schema.version}, open to servers from ${schema.compat ?? "any"} on`;
    if (schema.versionRows !== 1) {
      found.push(
        blocker("risk-06", { what: `schema_version has ${schema.versionRows} rows`, why: "No server starts on it.", todo: "Leave the row that is right." }),
      );
    }
    if (schema.compat !== undefined && schema.compat > SCHEMA_VERSION) {
      const why = `Synapse 1.160 and Myelin know version ${SCHEMA_VERSION}: a newer Synapse has opened it and closed the way back.`;
      found.push(blocker("risk-05", { what: `The schema is ${range}`, why, todo: "Use a release that knows this version." }));
    } else found.push(ok("risk-05", `The schema is ${range}`));
    if (schema.version > SCHEMA_VERSION) {
      found.push(
        warning("risk-06", {
          what: `The schema is of version ${schema.version}, newer than ${SCHEMA_VERSION}`,
          why: "A newer Synapse prepared it, and says that older servers may use it; what it added is not kept up.",
          todo: "Prefer a release that knows this version.",
        }),
      );
    } else if (schema.version < OLDEST_VERSION && target === "myelin") {
      found.push(
        blocker("risk-06", {
          what: `The schema is of version ${schema.version}`,
          why: `Myelin takes databases from version ${OLDEST_VERSION} on.`,
          todo: "Start Synapse 1.160 on it once, wait for its background updates, stop it, and check again.",
        }),
      );
    } else if (schema.version < SCHEMA_VERSION && target === "myelin") {
      const why = `Myelin brings it to ${SCHEMA_VERSION} at its first start, as Synapse 1.160 would.`;
      found.push(
        note("risk-06", {
          what: `The schema is of version ${schema.version}`,
          why,
          todo: "For the way back have Synapse 1.160 ready; an older one may not take it.",
        }),
      );
    } else found.push(ok("risk-06", `schema_version is one row, ${schema.version}`));
    return found;
  },
};

/** Risk 7: files are compared, never numbers. */
const deltas: DatabaseCheck = {
  name: "deltas",
  risks: [7],
  async run({ facts, target }) {
    const schema = facts.schema!;
    const applied = new Set(schema.deltas.map(({ file }) => file));
    const missing = missingDeltas({ version: schema.version, upgraded: schema.upgraded, applied });
    const found: Draft[] = [];
    const done = missing.filter(({ sql }) => made(sql).some((table) => facts.tables.has(table))).map(({ file }) => file);
    if (done.length > 0) {
      found.push(
        blocker("risk-07", {
          what: `${count(done.length, "delta is", "deltas are")} not noted as applied, though what they make is there`,
          why: "They would be applied again at start, and fail.",
          todo: "Restore applied_schema_deltas from the dump that the tables came from.",
          examples: done,
        }),
      );
    }
    const open = missing.filter(({ file }) => !done.includes(file)).map(({ file }) => file);
    if (open.length > 0) {
      const who = target === "myelin" ? "Myelin applies them at its first start." : "Synapse 1.160 applies them at its start; an older one may not know them.";
      found.push(
        note("risk-07", {
          what: `${count(open.length, "delta")} of Synapse 1.160 ${open.length === 1 ? "is" : "are"} not applied yet`,
          why: who,
          todo: "Have a backup, as before any upgrade.",
          examples: open.slice(0, 8),
        }),
      );
    }
    const known = new Set([...expectedCatalogue().applied_schema_deltas.map(({ file }) => file), ...DELTAS.map(({ file }) => file)]);
    const lost = expectedCatalogue().applied_schema_deltas.filter(
      ({ version, file }) => version < OLDEST_VERSION && version < schema.version && !applied.has(file),
    );
    if (lost.length > 0) {
      found.push(
        warning("risk-07", {
          what: `${count(lost.length, "delta")} of older versions ${lost.length === 1 ? "is" : "are"} not noted as applied`,
          why: "Servers do not look at them any more, but rows of this table have been lost, perhaps with others.",
          todo: "Find out how; compare with a backup.",
          examples: lost.slice(0, 8).map(({ file }) => file),
        }),
      );
    }
    const newer = schema.deltas.filter(({ version, file }) => version >= SCHEMA_VERSION && !known.has(file)).map(({ file }) => file);
    if (newer.length > 0) {
      found.push(
        warning("risk-07", {
          what: `${count(newer.length, "delta")} ${newer.length === 1 ? "is" : "are"} unknown to Synapse 1.160 and to Myelin`,
          why: "A newer Synapse has opened the database; what it added is not kept up.",
          todo: "Prefer a release that knows them; read what they do.",
          examples: newer,
        }),
      );
    }
    return found.length > 0 ? found : [ok("risk-07", `All ${DELTAS.length} deltas since version ${OLDEST_VERSION} are applied`)];
  },
};

/** Tables and sequences that a delta makes. */
function made(sql: string): string[] {
  return [...sql.matchAll(/CREATE TABLE (?:IF NOT EXISTS )?(\w+)/g)].map((match) => match[1]!);
}

const modules: DatabaseCheck = {
  name: "module-schemas",
  risks: [8],
  async run({ read, target }) {
    const found = await moduleSchemas(read);
    if (found.length === 0) return [ok("risk-08", "No module has tables of its own")];
    const why = target === "myelin" ? "Myelin does not run modules; their tables stay as they are." : "Synapse applies what they lack at its start.";
    return [
      note("risk-08", {
        what: `${count(found.length, "module has", "modules have")} tables of their own`,
        why,
        todo: "See what the modules do for your users.",
        examples: found.map(({ module }) => module),
      }),
    ];
  },
};

/** Risks 10, 13, 14 and 25: the catalogue, object by object. */
const catalogue: DatabaseCheck = {
  name: "catalogue",
  risks: [10, 13, 14, 25, 56],
  async run(ctx) {
    const expected = expectedCatalogue();
    const found: Draft[] = [];
    const all = differences(describeCatalogue(expected), new Map(await ctx.catalogue()));
    const upgrade = ctx.facts.schema!.version < SCHEMA_VERSION || missingFiles(ctx);
    const later = upgrade ? undefined : await indexesToCome(ctx, expected);
    const wrong = all.filter(({ expected: text, object }) => text !== undefined && (later === undefined ? false : !later(object)));
    const missing = wrong.filter(({ object, found: text }) => text === undefined && /^(?:table|column|sequence) /.test(object));
    if (missing.length > 0) {
      found.push(
        blocker("risk-10", {
          what: `${count(missing.length, "table, column or sequence is", "tables, columns or sequences are")} missing`,
          why: "The server would not start, or could not write.",
          todo: "Restore the database from a complete dump.",
          examples: firstNames(missing),
        }),
      );
    }
    found.push(...typeFindings(wrong.filter(({ object, found: text }) => text !== undefined && object.startsWith("column "))));
    const spoilt = wrong.filter(({ object }) => /^(?:index|constraint|trigger|function) /.test(object));
    if (spoilt.length > 0) {
      found.push(
        warning("risk-10", {
          what: `${count(spoilt.length, "index, constraint or trigger is", "indexes, constraints or triggers are")} missing, unfinished or different`,
          why: "Reads become slow, or wrong rows are let in: a restore that was not complete, or an index that was never finished.",
          todo: "Make them again as Synapse's schema has them (an unfinished index is dropped first).",
          examples: spoilt.map(({ object, found: text, expected: want }) =>
            text === undefined ? object : text.endsWith("INVALID") ? `${object} (unfinished)` : `${object}: ${text}, not ${want}`,
          ),
        }),
      );
    }
    const tables = wrong.filter(({ object, found: text }) => text !== undefined && /^(?:table|sequence) /.test(object));
    if (tables.length > 0) {
      const examples = tables.map(({ object, found: text, expected: want }) => `${object}: ${text}, not ${want}`);
      found.push(
        note("risk-10", {
          what: `${count(tables.length, "table or sequence has", "tables or sequences have")} other settings than Synapse's`,
          why: "The server works; replication or speed may differ.",
          todo: "Nothing, if you set them so.",
          examples,
        }),
      );
    }
    if (found.length === 0) {
      found.push(
        upgrade
          ? ok("risk-10", "The schema is older than 94: its objects are compared after it was brought up to date")
          : ok(
              "risk-10",
              `All ${Object.keys(expected.tables).length} tables, ${expected.sequences.length} sequences and ${expected.triggers.length} triggers of Synapse 1.160 are there`,
            ),
      );
    }
    if (!found.some(({ id }) => id === "risk-25")) found.push(ok("risk-25", "Columns that number themselves do so"));
    return found;
  },
};

function missingFiles({ facts }: CheckContext): boolean {
  const { version, upgraded, deltas: rows } = facts.schema!;
  return missingDeltas({ version, upgraded, applied: new Set(rows.map(({ file }) => file)) }).length > 0;
}

/** Whether an object is yet to be made by a background update that waits. */
async function indexesToCome(ctx: CheckContext, expected: Catalogue): Promise<(object: string) => boolean> {
  const pending = new Set((await pendingUpdates(ctx.read)).map(({ name }) => name));
  const later = new Set<string>();
  for (const [table, { indexes }] of Object.entries(expected.tables)) {
    for (const index of indexes)
      if (index.created_by_background_update && pending.has(index.created_by_background_update)) later.add(`index ${table}.${index.name}`);
  }
  return (object) => later.has(object) || (pending.size > 0 && object.startsWith("constraint "));
}

function typeFindings(columns: readonly Difference[]): Draft[] {
  const found: Draft[] = [];
  const split = { "risk-13": [] as Difference[], "risk-14": [] as Difference[], "risk-25": [] as Difference[] };
  for (const each of columns) {
    if (sameType(each)) continue; // position, default: of no consequence for statements that name their columns
    const texts = `${each.expected} ${each.found}`;
    split[/identity/.test(texts) ? "risk-25" : /bytea|jsonb/.test(texts) ? "risk-13" : "risk-14"].push(each);
  }
  for (const [id, list] of Object.entries(split)) {
    if (list.length === 0) continue;
    found.push(
      blocker(id, {
        what: `${count(list.length, "column has", "columns have")} another type than Synapse's`,
        why: "What is written there would fail, or be read as something else.",
        todo: "Find out who changed it, and change it back.",
        examples: list.map(({ object, found: text, expected }) => `${object.slice(7)}: ${text}, not ${expected}`),
      }),
    );
  }
  return found;
}

/** `3 bigint not null default ...`: the type, whether it may be null, and the identity. */
function sameType({ found, expected }: Difference): boolean {
  const essence = (text: string | undefined): string => (text ?? "").replace(/^\d+ /, "").replace(/ default .*?(?= identity|$)/, "");
  return essence(found) === essence(expected);
}

const firstNames = (list: readonly Difference[]): string[] => list.slice(0, 8).map(({ object }) => object);

/** Tables whose rows Synapse 1.160 reads by the position of their columns. */
const BY_POSITION = ["scheduled_tasks", "push_rules"];

/** Risks 74 and 76: what others have added. */
const additions: DatabaseCheck = {
  name: "additions",
  risks: [74, 76],
  async run({ read, target, catalogue: catalogueOf }) {
    const found: Draft[] = [];
    const expected = describeCatalogue(expectedCatalogue());
    const extra = differences(expected, new Map(await catalogueOf())).filter((each) => each.expected === undefined);
    const names = Object.keys(expectedCatalogue().tables);
    const tables = extra.filter(({ object }) => object.startsWith("table ")).map(({ object }) => object.slice(6));
    const mandatory = new Set((await mandatoryColumns(read)).map(({ table, column }) => `${table}.${column}`));
    const columns = extra
      .filter(({ object }) => object.startsWith("column ") && names.includes(object.slice(7).split(".")[0]!))
      .map(({ object }) => object.slice(7));
    const fatal = columns.filter((name) => mandatory.has(name));
    if (fatal.length > 0) {
      const todo = "Give them a default, or drop them when nothing needs them.";
      found.push(
        blocker("risk-76", {
          what: `${count(fatal.length, "added column")} of Synapse's tables must be filled`,
          why: "Rows written by a server that does not know them are refused.",
          todo,
          examples: fatal,
        }),
      );
    }
    const positional = columns.filter((name) => BY_POSITION.includes(name.split(".")[0]!));
    if (positional.length > 0) {
      const draft = target === "synapse" ? blocker : warning;
      found.push(
        draft("risk-74", {
          what: `Columns were added to ${[...new Set(positional.map((name) => name.split(".")[0]))].join(" and ")}`,
          why: "Synapse reads these tables by the position of their columns.",
          todo: "Drop them.",
          examples: positional,
        }),
      );
    }
    const harmless = columns.filter((name) => !fatal.includes(name) && !positional.includes(name));
    const keys = await foreignKeysTo(read, names);
    if (keys.length > 0) {
      const why = "Rooms and history cannot be purged any more: the key refuses the deletion.";
      found.push(
        warning("risk-76", {
          what: `${count(keys.length, "foreign key")} from other tables to Synapse's`,
          why,
          todo: "Drop them, or make them ON DELETE CASCADE.",
          examples: keys,
        }),
      );
    }
    const triggers = extra
      .filter(({ object }) => object.startsWith("trigger ") && names.includes(object.slice(8).split(".")[0]!))
      .map(({ object }) => object.slice(8));
    if (triggers.length > 0) {
      const why = "They run with each change that the server makes; Synapse does not know them.";
      found.push(
        warning("risk-76", {
          what: `${count(triggers.length, "trigger was", "triggers were")} added to Synapse's tables`,
          why,
          todo: "Make sure that they are wanted, and still fit.",
          examples: triggers,
        }),
      );
    }
    const own = target === "synapse" ? await ownTables(read) : { tables: [], bytes: 0 };
    if (own.tables.length > 0) {
      const what = `Myelin has kept ${bytes(own.bytes)} in a schema of its own`;
      found.push(
        note("risk-76", {
          what,
          why: "Synapse does not look there; nothing in its own tables depends on it.",
          todo: `If you stay with Synapse: DROP SCHEMA ${own.tables[0]!.split(".")[0]!} CASCADE.`,
          examples: own.tables,
        }),
      );
    }
    const others = [...tables, ...harmless];
    if (others.length > 0) {
      const why = "Neither Synapse nor Myelin looks at them; left by modules, tools, or a newer Synapse.";
      found.push(
        note("risk-76", {
          what: `${count(others.length, "table or column is", "tables or columns are")} not Synapse's`,
          why,
          todo: "Nothing.",
          examples: others.slice(0, 8),
        }),
      );
    }
    return found.length > 0 ? found : [ok("risk-76", "Nobody has added tables, columns, keys or triggers")];
  },
};

export const schemaChecks: readonly DatabaseCheck[] = [versions, deltas, modules, catalogue, additions];

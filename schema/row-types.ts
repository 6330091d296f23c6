import type { Catalogue, Column, Table } from "../src/storage/schema/catalogue-file.ts";

/** Depths have no bound but 2^63: they may not fit a double (`storage/database.ts` then gives a bigint). */
const MAY_BE_BIG = new Set(["depth", "min_depth", "topological_ordering"]);

function typeOf(column: Column): string {
  const type = column.type.replace(/\(.*\)$/, "");
  switch (type) {
    case "bigint":
      return MAY_BE_BIG.has(column.name) ? "number | bigint" : "number";
    case "integer":
    case "smallint":
      return "number";
    case "boolean":
      return "boolean";
    case "text":
    case "character":
    case "character varying":
    case "tsvector":
      return "string";
    case "text[]":
      return "string[]";
    case "bytea":
      return "Buffer";
    case "jsonb":
      return "JsonObject";
    default:
      throw new Error(`no TypeScript type for ${column.type}`);
  }
}

const pascal = (name: string): string => name.split("_").map((part) => part.charAt(0).toUpperCase() + part.slice(1)).join("");

function rowType(name: string, table: Table): string {
  const fields = table.columns.map((column) => `  ${column.name}: ${typeOf(column)}${column.nullable ? " | null" : ""};`);
  return `/** A row of \`${name}\`. */\nexport interface ${pascal(name)}Row {\n${fields.join("\n")}\n}`;
}

/** The text of `src/storage/tables.ts`: a row type for each table, and the map from table names to them. */
export function rowTypes(catalogue: Catalogue): string {
  const tables = Object.entries(catalogue.tables);
  return [
    "// Written by schema/generate.ts from schema/catalogue.json: do not edit.",
    'import type { JsonObject } from "../lib/json.ts";',
    "",
    ...tables.map(([name, table]) => rowType(name, table) + "\n"),
    "/** Each table by its name. */",
    "export interface Tables {",
    ...tables.map(([name]) => `  ${name}: ${pascal(name)}Row;`),
    "}",
    "",
  ].join("\n");
}

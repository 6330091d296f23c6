import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** The folder `schema/` of the package, from the source tree as well as from the build. */
function schemaFolder(): string {
  for (let folder = path.dirname(fileURLToPath(import.meta.url)); folder !== path.dirname(folder); folder = path.dirname(folder)) {
    if (existsSync(path.join(folder, "schema", "full.sql"))) return path.join(folder, "schema");
  }
  throw new Error("The folder schema/ of the installation is missing");
}

let fullSql: string | undefined;

/** The SQL that makes everything in an empty database, at schema version 94. */
export function fullSchemaSql(): string {
  return (fullSql ??= readFileSync(path.join(schemaFolder(), "full.sql"), "utf8"));
}

/** A file below `schema/`. */
export function schemaFile(name: string): string {
  return readFileSync(path.join(schemaFolder(), name), "utf8");
}

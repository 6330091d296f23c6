/**
 * Why the server does not start: what is wrong, what was found, what to do, as one line for the admin. Thrown while the database is
 * opened; nothing has been changed then, unless the line says so.
 */
export class StartupRefusal extends Error {
  constructor(
    /** Stable, for tests and tools. */
    readonly code: RefusalCode,
    what: string,
    readonly found: string,
    remedy: string,
    options?: ErrorOptions,
  ) {
    super(`${what}: found ${found}. ${remedy}`.replace(/\s+/g, " "), options);
    this.name = "StartupRefusal";
  }
}

export type RefusalCode =
  | "unreachable"
  | "postgres-version"
  | "encoding"
  | "locale"
  | "not-empty"
  | "old-updates"
  | "foreign-users"
  | "schema-too-old"
  | "schema-too-new"
  | "schema-damaged"
  | "schema-not-prepared"
  | "single-row"
  | "sequence-range"
  | "second-server"
  | "live-synapse";

import type { ConfigReader, ParseContext } from "../reader.ts";

/** The bus between processes (`redis`). */
export type RedisConfig = ReturnType<typeof parseRedis>;

export function parseRedis(root: ConfigReader, ctx: ParseContext) {
  const raw = root.object("redis");
  const dbid = raw.text("dbid");
  if (dbid !== undefined && !/^\d+$/.test(dbid)) throw raw.wrong("dbid", "a number");
  return {
    enabled: raw.boolean("enabled", false),
    host: raw.string("host", "localhost"),
    port: raw.port("port", 6379),
    /** A Unix socket, used instead of host and port. */
    path: raw.filePath("path", ctx),
    dbid: dbid === undefined ? undefined : Number(dbid),
    password: raw.secret("password", "password_path", ctx),
    useTls: raw.boolean("use_tls", false),
    certificateFile: raw.filePath("certificate_file", ctx),
    privateKeyFile: raw.filePath("private_key_file", ctx),
    caFile: raw.filePath("ca_file", ctx),
    /** A directory of certificates. */
    caPath: raw.filePath("ca_path", ctx),
  };
}

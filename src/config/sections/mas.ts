import { ConfigError } from "../errors.ts";
import type { ConfigReader, ParseContext } from "../reader.ts";

/** Delegation of authentication to the Matrix Authentication Service (`mas`). */
export type MasConfig = ReturnType<typeof parseMas>;

export function parseMas(root: ConfigReader, ctx: ParseContext) {
  const raw = root.object("matrix_authentication_service");
  const enabled = raw.boolean("enabled", false);
  const endpoint = raw.string("endpoint", "http://localhost:8080");
  const secret = raw.secret("secret", "secret_path", ctx);
  if (!/^https?:\/\//.test(endpoint) || !URL.canParse(endpoint)) throw raw.wrong("endpoint", "an http or https URL");
  if (enabled && !secret) throw raw.wrong("secret", "the shared secret (or secret_path), since the service is enabled");
  return {
    enabled,
    /** With a trailing slash. */
    endpoint: endpoint.endsWith("/") ? endpoint : `${endpoint}/`,
    forceHttp2: raw.boolean("force_http2", false),
    secret,
  };
}

/** What cannot be on while authentication is delegated, as option and whether it is on. @throws ConfigError */
export function checkMasConflicts(enabled: boolean, options: readonly (readonly [path: string, on: boolean])[]): void {
  if (!enabled) return;
  const conflict = options.find(([, on]) => on);
  if (conflict !== undefined) throw new ConfigError("cannot be enabled together with matrix_authentication_service", conflict[0]);
}

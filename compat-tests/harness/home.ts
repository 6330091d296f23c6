import { randomBytes } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import type { PostgresServer } from "./postgres.ts";
import { freePort, scratchFolder } from "./scratch.ts";

/** A server's files: homeserver.yaml, keys, media, log. Both servers are started on the same home, one after the other. */
export interface Home {
  readonly folder: string;
  readonly config: string;
  readonly serverName: string;
  readonly port: number;
  readonly baseUrl: string;
  readonly postgres: PostgresServer;
  readonly database: string;
  readonly log: string;
  /** `registration_shared_secret` of the config. */
  readonly sharedSecret: string;
  /** Token of the application service in the config. */
  readonly asToken: string;
  readonly hsToken: string;
}

export interface HomeOptions {
  name: string;
  postgres: PostgresServer;
  /** Default: a database of the home's name, made empty. */
  database?: string;
  /** Do not create the database (a copy stands there). */
  keepDatabase?: boolean;
  serverName?: string;
  /** Where pushes and application service transactions go; without it nothing is sent. */
  sinkUrl?: string;
  logLevel?: "INFO" | "WARNING";
  /** More experimental features. */
  features?: Record<string, boolean>;
  /** More of homeserver.yaml, over ours; undefined takes an option away. */
  extra?: Record<string, unknown>;
}

/** Features that a Synapse before the one we replace wants said. */
export const OLD_FEATURES = { msc2697_enabled: false };
const PLENTY = { per_second: 1e6, burst_count: 1e6 };
export const AS_TOKEN = "compat_as_token";
const SECRET = "compat shared secret";
export const FORM_SECRET = "compat form secret";
export const CONSENT_VERSION = "1.0";

const TERMS = `<form method="post" action="consent">{% if has_consented %}<p>{{ user }} agreed.</p>{% endif %}
<input type="hidden" name="v" value="{{ version }}"><input type="hidden" name="u" value="{{ user }}"><input type="hidden" name="h" value="{{ userhmac }}">
</form>
`;

/** Writes a home into the scratch folder and makes its database. */
export async function makeHome(options: HomeOptions): Promise<Home> {
  const folder = scratchFolder(options.name);
  const database = options.database ?? `compat_${options.name.replaceAll(/[^a-z0-9]+/g, "_")}_${process.pid}`;
  if (!options.keepDatabase) await options.postgres.createDatabase(database);
  const port = await freePort();
  const serverName = options.serverName ?? "compat.test";
  mkdirSync(join(folder, "media"), { recursive: true });
  writeFileSync(join(folder, "signing.key"), `ed25519 a_comp ${randomBytes(32).toString("base64").replace(/=+$/, "")}\n`);
  writeFileSync(join(folder, "log.yaml"), logConfig(join(folder, "homeserver.log"), options.logLevel ?? "INFO"));
  writeFileSync(join(folder, "as.yaml"), stringify(appservice(options.sinkUrl)));
  const terms = join(folder, "terms", "en");
  mkdirSync(terms, { recursive: true });
  writeFileSync(join(terms, `${CONSENT_VERSION}.html`), TERMS);
  writeFileSync(join(terms, "success.html"), "<p>Agreed</p>\n");
  const hasTerms = options.extra === undefined || !("user_consent" in options.extra);
  const config = join(folder, "homeserver.yaml");
  const { host, port: pgPort, user, password } = options.postgres;
  writeFileSync(
    config,
    stringify({
      server_name: serverName,
      pid_file: join(folder, "homeserver.pid"),
      public_baseurl: `http://127.0.0.1:${port}/`,
      listeners: [
        {
          port,
          bind_addresses: ["127.0.0.1"],
          type: "http",
          tls: false,
          x_forwarded: true,
          resources: [{ names: ["client", "federation", ...(hasTerms ? ["consent"] : [])], compress: false }],
        },
      ],
      database: { name: "psycopg2", args: { user, password, dbname: database, host, port: pgPort, cp_min: 2, cp_max: 10 } },
      log_config: join(folder, "log.yaml"),
      media_store_path: join(folder, "media"),
      signing_key_path: join(folder, "signing.key"),
      registration_shared_secret: SECRET,
      macaroon_secret_key: "compat macaroon secret",
      form_secret: FORM_SECRET,
      report_stats: false,
      trusted_key_servers: [],
      suppress_key_server_warning: true,
      enable_registration: true,
      enable_registration_without_verification: true,
      refreshable_access_token_lifetime: "24h",
      bcrypt_rounds: 4,
      allow_guest_access: true,
      allow_public_rooms_without_auth: true,
      allow_public_rooms_over_federation: true,
      room_list_publication_rules: [{ action: "allow" }],
      user_directory: { enabled: true, search_all_users: true },
      ip_range_blacklist: [],
      max_upload_size: "10M",
      dynamic_thumbnails: false,
      presence: { enabled: true },
      caches: { sync_response_cache_duration: 0 }, // the same sync twice is asked twice
      max_event_delay_duration: "24h",
      server_notices: { system_mxid_localpart: "notices", system_mxid_display_name: "Notices", room_name: "Notices" },
      user_consent: { template_dir: join(folder, "terms"), version: CONSENT_VERSION },
      account_validity: { enabled: true, period: "52w" },
      login_via_existing_session: { enabled: true, require_ui_auth: false },
      ui_auth: { session_timeout: "15m" },
      app_service_config_files: [join(folder, "as.yaml")],
      experimental_features: { msc3814_enabled: true, msc3881_enabled: true, msc3391_enabled: true, msc4306_enabled: true, ...options.features },
      rc_message: PLENTY,
      rc_registration: PLENTY,
      rc_login: { address: PLENTY, account: PLENTY, failed_attempts: PLENTY },
      rc_joins: { local: PLENTY, remote: PLENTY },
      rc_joins_per_room: PLENTY,
      rc_room_creation: PLENTY,
      rc_invites: { per_room: PLENTY, per_user: PLENTY, per_issuer: PLENTY },
      rc_presence: { per_user: PLENTY },
      rc_3pid_validation: PLENTY,
      rc_media_create: PLENTY,
      rc_reports: PLENTY,
      rc_user_directory: PLENTY,
      rc_key_requests: PLENTY,
      rc_admin_redaction: PLENTY,
      rc_registration_token_validity: PLENTY,
      rc_delayed_event_mgmt: PLENTY,
      ...options.extra,
    }),
  );
  return {
    folder,
    config,
    serverName,
    port,
    baseUrl: `http://127.0.0.1:${port}`,
    postgres: options.postgres,
    database,
    log: join(folder, "homeserver.log"),
    sharedSecret: SECRET,
    asToken: AS_TOKEN,
    hsToken: "compat_hs_token",
  };
}

/** Uses the signing key of another home, so that both are the same server. */
export function shareIdentity(from: Home, to: Home): void {
  const key = join(from.folder, "signing.key");
  if (existsSync(key)) copyFileSync(key, join(to.folder, "signing.key"));
}

function logConfig(file: string, level: string): string {
  return stringify({
    version: 1,
    formatters: { precise: { format: "%(asctime)s - %(name)s - %(lineno)d - %(levelname)s - %(request)s - %(message)s" } },
    handlers: { file: { class: "logging.FileHandler", formatter: "precise", filename: file } },
    root: { level, handlers: ["file"] },
    disable_existing_loggers: false,
  });
}

function appservice(sinkUrl: string | undefined): unknown {
  return {
    id: "compat-bridge",
    url: sinkUrl ?? null,
    as_token: AS_TOKEN,
    hs_token: "compat_hs_token",
    sender_localpart: "bridge",
    rate_limited: false,
    receive_ephemeral: true,
    "de.sorunome.msc2409.push_ephemeral": true,
    protocols: ["compat"],
    namespaces: { users: [{ exclusive: true, regex: "@_bridge_.*" }], aliases: [{ exclusive: true, regex: "#_bridge_.*" }], rooms: [] },
  };
}

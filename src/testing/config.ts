import { tmpdir } from "node:os";
import { parseConfig, type Config } from "../config/config.ts";
import { formatSigningKey, signingKeyFromSeed } from "../config/signing-key.ts";

/** The signing key of test servers: the same one in each run, so that signatures can be compared. */
export const TEST_SIGNING_KEY = signingKeyFromSeed("a_test", new Uint8Array(32).fill(7));

/** Options as they stand in homeserver.yaml. */
export type TestConfigOverrides = Readonly<Record<string, unknown>>;

/**
 * A valid configuration for tests: the server "test", registration open, rate limits so high that they do not bite, cheap password hashes.
 * `overrides` are options as they stand in homeserver.yaml; they replace whole top-level options, as a second configuration file does.
 */
export function testConfig(overrides: TestConfigOverrides = {}): Config {
  const unlimited = { per_second: 100_000, burst_count: 100_000 };
  return parseConfig(
    {
      server_name: "test",
      report_stats: false,
      public_baseurl: "https://test/",
      listeners: [{ type: "http", port: 0, bind_addresses: ["127.0.0.1"], resources: [{ names: ["client", "federation", "metrics"] }] }],
      database: { name: "psycopg2", args: { user: "synapse", database: "test", host: "127.0.0.1" } },
      signing_key: formatSigningKey(TEST_SIGNING_KEY),
      macaroon_secret_key: "macaroon secret of the tests",
      form_secret: "form secret of the tests",
      registration_shared_secret: "registration secret of the tests",
      enable_registration: true,
      enable_registration_without_verification: true,
      bcrypt_rounds: 4,
      trusted_key_servers: [],
      suppress_key_server_warning: true,
      rc_message: unlimited,
      rc_registration: unlimited,
      rc_registration_token_validity: unlimited,
      rc_login: { address: unlimited, account: unlimited, failed_attempts: unlimited },
      rc_admin_redaction: unlimited,
      rc_joins: { local: unlimited, remote: unlimited },
      rc_joins_per_room: unlimited,
      rc_3pid_validation: unlimited,
      rc_invites: { per_room: unlimited, per_user: unlimited, per_issuer: unlimited },
      rc_third_party_invite: unlimited,
      rc_media_create: unlimited,
      rc_presence: { per_user: unlimited },
      rc_delayed_event_mgmt: unlimited,
      rc_room_creation: unlimited,
      rc_reports: unlimited,
      rc_user_directory: unlimited,
      ...overrides,
    },
    { configDir: tmpdir(), dataDir: tmpdir(), env: {} },
  );
}

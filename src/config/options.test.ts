import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { parseConfig, parseTracked } from "./config.ts";
import { ConfigError } from "./errors.ts";
import { ReadTracker } from "./reader.ts";
import { UNSUPPORTED_OPTIONS } from "./unsupported.ts";

/** Every option of Synapse 1.160: its path (`[]` a list's entry, `{key}` a name of the admin's choice) and its type. */
interface Option {
  readonly path: string;
  readonly type: string | readonly string[] | null;
  readonly enum?: readonly unknown[];
  /** What Synapse's code takes when the option is absent, where that is not null. */
  readonly default?: unknown;
}

const options = JSON.parse(readFileSync(new URL("testdata/synapse-options.json", import.meta.url), "utf8")) as Option[];

/** What must stand beside an option so that its neighbours are looked at. */
const COMPANIONS: Readonly<Record<string, object>> = {
  "oidc_providers[]": { idp_id: "x", idp_name: "X", issuer: "https://idp/", client_id: "x" },
  "oidc_providers[].client_secret_jwt_key": { key: "x", jwt_header: { alg: "ES256" } },
  "allowed_local_3pids[]": { medium: "email", pattern: "x" },
  "alias_creation_rules[]": { action: "allow" },
  cas_config: { server_url: "https://cas/" },
  "databases.{key}": { name: "psycopg2" },
  email: { notif_from: "x@test" },
  jwt_config: { secret: "x", algorithm: "HS256" },
  "listeners[].additional_resources.{key}": { module: "x.Y" },
  "matrix_rtc.transports[]": { type: "other" },
  "mau_limit_reserved_threepids[]": { medium: "email", address: "x" },
  "media_storage_providers[]": { module: "x.Y", config: {} },
  "modules[]": { module: "x.Y" },
  "presence.presence_router": { module: "x.Y" },
  "oidc_providers[].attribute_requirements[]": { attribute: "x" },
  "old_signing_keys.{key}": { key: "x" },
  "saml2_config.attribute_requirements[]": { attribute: "x" },
  server_notices: { system_mxid_localpart: "x" },
  "listeners[]": { type: "http", port: 8008 },
  "instance_map.{key}": { host: "x", port: 1 },
  "media_upload_limits[]": { max_size: "1M", time_period: "1d" },
  user_consent: { version: "1", template_dir: tmpdir() },
  "trusted_key_servers[]": { server_name: "x" },
};

const BASE = {
  server_name: "test",
  report_stats: false,
  signing_key: "ed25519 a_test BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc",
  database: { name: "psycopg2", args: { user: "x" } },
  form_secret: "x",
};

/** Options whose noted default is not the same as absence, with the reason. */
const NOT_LIKE_ABSENT: Readonly<Record<string, string>> = {
  "database.name": "SQLite is refused",
  "databases.{key}.name": "SQLite is refused",
  "email.already_in_use_template_html": "names the text form of the mail, too",
  "email.client_base_url": "absent, links to clients are made another way",
  federation_custom_ca_list: "an empty list is an error, as in Synapse",
  federation_sender_instances: "absent, the main process sends",
  gc_min_interval: "unsupported, so that it is named",
  listeners: "absent, there is a listener; an empty list means none",
  "opentracing.enabled": "unsupported, so that it is named",
  pusher_instances: "absent, the main process pushes",
  "server_notices.system_mxid_display_name": "the code knows no default",
  trusted_key_servers: "absent, there is a notice",
  worker_name: "stands in the configuration of a worker only",
};

function sample(option: Option): unknown {
  if (option.enum !== undefined) return option.enum[0];
  const types = Array.isArray(option.type) ? (option.type as string[]) : [String(option.type)];
  const type = types[0]!;
  if (type.includes("array")) return [];
  if (type.includes("object")) return {};
  if (type === "boolean") return true;
  if (type === "integer" || type === "number") return 5;
  if (type.includes("duration")) return "5m";
  if (type.includes("size")) return "5M";
  return "x";
}

/** A configuration in which the option stands, with all that it stands in. */
function configWith(option: Option, given: { readonly value?: unknown } = { value: sample(option) }): Record<string, unknown> {
  const root: Record<string, unknown> = { ...BASE, ...(option.path.startsWith("databases.") ? { database: null } : {}) };
  let place: Record<string, unknown> = root;
  let pattern = "";
  const parts = option.path.replaceAll("[]", ".[]").split(".");
  for (const [index, part] of parts.entries()) {
    const isLast = index === parts.length - 1;
    if (part === "[]") continue;
    const lists = countLists(parts, index);
    pattern = pattern === "" ? part : `${pattern}.${part}`;
    const key = part === "{key}" ? "name" : part;
    const inList = pattern + "[]".repeat(lists);
    if (isLast || index + lists === parts.length - 1) {
      if (!("value" in given)) return root;
      let value = given.value;
      if (typeof value === "object" && !Array.isArray(value)) value = { ...COMPANIONS[inList], ...value };
      for (let list = 0; list < lists; list++) value = [value];
      place[key] = value;
      return root;
    }
    const child: Record<string, unknown> = { ...COMPANIONS[inList] };
    place[key] = lists > 0 ? [child] : key === "database" ? { ...BASE.database, ...child } : child;
    place = lists > 0 ? child : (place[key] as Record<string, unknown>);
    pattern = inList;
  }
  return root;
}

function countLists(parts: readonly string[], index: number): number {
  let lists = 0;
  while (parts[index + 1 + lists] === "[]") lists++;
  return lists;
}

/** True when the option, or a subtree that it lies in, was asked for. */
function wasRead(path: string, tracker: ReadTracker): boolean {
  if (tracker.read.has(path)) return true;
  return [...tracker.opaque].some((pattern) => path === pattern || path.startsWith(`${pattern}.`) || path.startsWith(`${pattern}[`));
}

function isUnsupported(path: string): boolean {
  return [...UNSUPPORTED_OPTIONS.keys()].some((pattern) => path === pattern || path.startsWith(`${pattern}.`) || path.startsWith(`${pattern}[`));
}

describe("options of Synapse", function () {
  this.timeout(60_000);

  it("are all read by a section or listed as unsupported", () => {
    const missing: string[] = [];
    for (const option of options) {
      const tracker = new ReadTracker();
      try {
        parseTracked(configWith(option), { configDir: tmpdir(), dataDir: tmpdir(), env: {} }, tracker);
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
      }
      if (!wasRead(option.path, tracker) && !isUnsupported(option.path)) missing.push(option.path);
    }
    assert.deepEqual(missing, []);
  });

  it("have Synapse's defaults", () => {
    const parse = (values: Record<string, unknown>): object => parseConfig(values, { configDir: tmpdir(), dataDir: tmpdir(), env: {} });
    const parsed = new Map<string, object>();
    const without = (option: Option): object => {
      const values = configWith(option, {});
      const text = JSON.stringify(values);
      if (!parsed.has(text)) parsed.set(text, parse(values));
      return parsed.get(text)!;
    };
    const different: string[] = [];
    for (const option of options) {
      if (option.default === undefined || option.path.endsWith("[]") || option.path in NOT_LIKE_ABSENT) continue;
      try {
        assert.deepEqual(parse(configWith(option, { value: option.default })), without(option));
      } catch (error) {
        different.push(`${option.path} = ${JSON.stringify(option.default)}: ${error instanceof ConfigError ? error.message : "another configuration"}`);
      }
    }
    assert.deepEqual(different, []);
  });

  it("are listed as unsupported only when they exist and no section reads them", () => {
    const known = new Set(options.map((option) => option.path));
    for (const [path] of UNSUPPORTED_OPTIONS) {
      assert.ok(known.has(path), `${path} is no option of Synapse`);
      const option = options.find((candidate) => candidate.path === path)!;
      const tracker = new ReadTracker();
      parseTracked(configWith(option), { configDir: tmpdir(), dataDir: tmpdir(), env: {} }, tracker);
      assert.ok(!tracker.read.has(path), `${path} is read and listed as unsupported`);
    }
  });
});

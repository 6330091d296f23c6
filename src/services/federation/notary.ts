import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { parseJson } from "../../lib/lossless-json.ts";
import { signingKeyFromSeed, signJson } from "../../protocol/event/sign.ts";
import { type StoredKeyRow, storedKeys } from "../../storage/federation/keys.ts";
import type { Context } from "../context.ts";
import { keyDocument } from "./own-keys.ts";

export interface NotaryQuery {
  readonly serverName: string;
  /** undefined: all keys of the server. */
  readonly keyId: string | undefined;
  /** The document must hold until then, where the server says so. */
  readonly validAt: number | undefined;
}

type Needs = Pick<Context, "clock" | "config" | "keyRing" | "read" | "signingKeys" | "federationClient">;

/** Key documents of other servers with this server's signature: it vouches for having got them so (server-server API, "Querying keys through another server"). */
export async function notarise(ctx: Needs, queries: readonly NotaryQuery[]): Promise<JsonObject[]> {
  const whitelist = ctx.config.federation.domainWhitelist;
  const allowed = queries.filter(
    (query) => whitelist === undefined || whitelist.includes(query.serverName) || query.serverName === ctx.config.server.serverName,
  );
  const own = allowed.some((query) => query.serverName === ctx.config.server.serverName);
  const others = allowed.filter((query) => query.serverName !== ctx.config.server.serverName);
  let rows = await newest(ctx, others);
  const missing = others.filter((query) => !satisfied(ctx, query, rows));
  const unknownServers = [...new Set(missing.map((query) => query.serverName))];
  if (missing.length > 0) {
    await Promise.all(unknownServers.map((serverName) => refresh(ctx, serverName)));
    rows = await newest(ctx, others);
  }
  const documents = new Map<string, JsonObject>();
  for (const row of rows) {
    const json: unknown = parseJson(row.key_json.toString("utf8"));
    if (isJsonObject(json)) documents.set(`${row.server_name} ${row.key_json.toString("base64")}`, json);
  }
  const signers = ctx.config.key.keyServerSigningKeys.map(({ version, seed }) => signingKeyFromSeed(version, seed));
  const signed = [...documents.values()].map((document) => signers.reduce((json, key) => signJson(json, ctx.config.server.serverName, key), document));
  return own ? [keyDocument(ctx), ...signed] : signed;
}

async function newest(ctx: Needs, queries: readonly NotaryQuery[]): Promise<StoredKeyRow[]> {
  if (queries.length === 0) return [];
  const best = new Map<string, StoredKeyRow>();
  for (const row of await storedKeys(ctx.read, queries)) {
    const id = `${row.server_name} ${row.key_id}`;
    const known = best.get(id);
    if (known === undefined || row.ts_added_ms > known.ts_added_ms) best.set(id, row);
  }
  return [...best.values()];
}

function satisfied(ctx: Needs, query: NotaryQuery, rows: readonly StoredKeyRow[]): boolean {
  const wanted = Math.max(query.validAt ?? 0, query.keyId === undefined ? ctx.clock.now() : 0);
  return rows.some(
    (row) => row.server_name === query.serverName && (query.keyId === undefined || row.key_id === query.keyId) && row.ts_valid_until_ms >= wanted,
  );
}

async function refresh(ctx: Needs, serverName: string): Promise<void> {
  try {
    await ctx.keyRing.acceptDocument(await ctx.federationClient.fetchServerKeys(serverName), serverName, serverName);
  } catch {
    // What is stored is answered.
  }
}

import { type JsonObject } from "../../lib/json.ts";
import { invalidParam, MatrixError, notFound } from "../../protocol/errors.ts";
import type { Context } from "../../services/context.ts";
import {
  deleteRegistrationToken,
  getRegistrationToken,
  insertRegistrationToken,
  listRegistrationTokens,
  updateRegistrationToken,
} from "../../storage/accounts/registration-tokens.ts";
import type { Config } from "../../config/config.ts";
import { endpoint } from "../http/endpoint.ts";
import { isInteger } from "./body.ts";

const TOKENS = "/_synapse/admin/v1/registration_tokens";
const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~-";
const MAX_LENGTH = 64;
const MAX_USES = 2 ** 31 - 1;
const ATTEMPTS = 3;
const when = (config: Config): boolean => !config.mas.enabled;

export const listTokens = endpoint({
  servlet: "ListRegistrationTokensRestServlet",
  method: "GET",
  path: TOKENS,
  auth: "admin",
  when,
  handle: async (ctx, { query }) => ({ registration_tokens: await listRegistrationTokens(ctx.read, query.boolean("valid"), ctx.clock.now()) }),
});

export const newToken = endpoint({
  servlet: "NewRegistrationTokenRestServlet",
  method: "POST",
  path: `${TOKENS}/new`,
  auth: "admin",
  emptyBody: false,
  when,
  async handle(ctx, { body }) {
    const wanted = readToken(body);
    const usesAllowed = readUses(body) ?? null;
    const expiryTime = readExpiry(ctx, body) ?? null;
    for (let attempt = 1; ; attempt++) {
      const token = wanted.token ?? randomToken(ctx, wanted.length);
      const row = { token, uses_allowed: usesAllowed, expiry_time: expiryTime };
      if (await ctx.transaction("create_registration_token", (txn) => insertRegistrationToken(txn, row))) return { ...row, pending: 0, completed: 0 };
      if (wanted.token !== undefined) throw invalidParam(`Token already exists: ${token}`);
      if (attempt === ATTEMPTS) throw new MatrixError(500, "M_UNKNOWN", "Unable to generate a unique registration token. Try again with a greater length");
    }
  },
});

export const getToken = endpoint({
  servlet: "RegistrationTokenRestServlet",
  method: "GET",
  path: `${TOKENS}/:token`,
  auth: "admin",
  when,
  handle: async (ctx, { params }) => (await getRegistrationToken(ctx.read, params.token)) ?? unknown(params.token),
});

export const putToken = endpoint({
  servlet: "RegistrationTokenRestServlet",
  method: "PUT",
  path: `${TOKENS}/:token`,
  auth: "admin",
  when,
  async handle(ctx, { params, body }) {
    const uses = readUses(body);
    const expiry = readExpiry(ctx, body);
    const changes = { ...(uses === undefined ? {} : { uses_allowed: uses }), ...(expiry === undefined ? {} : { expiry_time: expiry }) };
    return (await ctx.transaction("update_registration_token", (txn) => updateRegistrationToken(txn, params.token, changes))) ?? unknown(params.token);
  },
});

export const deleteToken = endpoint({
  servlet: "RegistrationTokenRestServlet",
  method: "DELETE",
  path: `${TOKENS}/:token`,
  auth: "admin",
  bodyType: "none",
  when,
  async handle(ctx, { params }) {
    if (!(await ctx.transaction("delete_registration_token", (txn) => deleteRegistrationToken(txn, params.token)))) unknown(params.token);
    return {};
  },
});

export const registrationTokenRoutes = [listTokens, newToken, getToken, putToken, deleteToken];

function unknown(token: string): never {
  throw notFound(`No such registration token: ${token}`);
}

function readToken({ token, length = 16 }: JsonObject): { token: string; length: number } | { token: undefined; length: number } {
  if (token === undefined) {
    if (!isInteger(length)) throw invalidParam("length must be an integer");
    if (length <= 0 || length > MAX_LENGTH) throw invalidParam("length must be greater than zero and not greater than 64");
    return { token, length };
  }
  if (typeof token !== "string") throw invalidParam("token must be a string");
  if (token.length === 0 || token.length > MAX_LENGTH) throw invalidParam("token must not be empty and must not be longer than 64 characters");
  if (!/^[A-Za-z0-9._~-]+$/.test(token)) throw invalidParam("token must consist only of characters matched by the regex [A-Za-z0-9-_]");
  return { token, length: token.length };
}

function randomToken(ctx: Pick<Context, "random">, length: number): string {
  return Array.from({ length }, () => LETTERS[ctx.random.below(LETTERS.length)]).join("");
}

/** undefined: not said. */
function readUses({ uses_allowed: uses }: JsonObject): number | null | undefined {
  if (uses === undefined || uses === null) return uses;
  if (!isInteger(uses) || uses < 0) throw invalidParam("uses_allowed must be a non-negative integer or null");
  if (uses > MAX_USES) throw invalidParam("uses_allowed is too large");
  return uses;
}

function readExpiry(ctx: Pick<Context, "clock">, { expiry_time: expiry }: JsonObject): number | null | undefined {
  if (expiry === undefined || expiry === null) return expiry;
  if (!isInteger(expiry)) throw invalidParam("expiry_time must be an integer or null");
  if (expiry < ctx.clock.now()) throw invalidParam("expiry_time must not be in the past");
  return expiry;
}

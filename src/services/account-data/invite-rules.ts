import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { globalAccountDataOfUsers } from "../../storage/accounts/account-data.ts";
import type { Context } from "../context.ts";

/** What a user wants done with an invite: let it in, refuse it, or swallow it silently. */
export type InviteRule = "allow" | "block" | "ignore";

/** Looked at in this order, users before servers; the first match decides (MSC4155). */
const FIELDS: readonly (readonly [field: string, of: "user" | "server", rule: InviteRule])[] = [
  ["allowed_users", "user", "allow"],
  ["ignored_users", "user", "ignore"],
  ["blocked_users", "user", "block"],
  ["allowed_servers", "server", "allow"],
  ["ignored_servers", "server", "ignore"],
  ["blocked_servers", "server", "block"],
];

/**
 * What each of `invitees` (local users) wants done with an invite from `inviter`: `m.invite_permission_config` (MSC4380) decides where it
 * is set, else MSC4155's rules where `msc4155` is enabled.
 */
export async function inviteRules(
  ctx: Pick<Context, "read">,
  invitees: readonly string[],
  inviter: string,
  msc4155: boolean,
): Promise<Map<string, InviteRule>> {
  const simple = await globalAccountDataOfUsers(ctx.read, invitees, "m.invite_permission_config");
  const detailed = msc4155 ? await globalAccountDataOfUsers(ctx.read, invitees, "org.matrix.msc4155.invite_permission_config") : new Map<string, string>();
  return new Map(
    invitees.map((invitee) => {
      const [plain, rules] = [simple.get(invitee), detailed.get(invitee)];
      if (plain !== undefined) return [invitee, parse(plain).default_action === "block" ? "block" : "allow"];
      return [invitee, rules === undefined ? "allow" : matchRules(parse(rules), inviter)];
    }),
  );
}

/** What one user wants done with invites, by inviter: as `inviteRules`, for many inviters. */
export async function inviteRuleOf(ctx: Pick<Context, "read">, userId: string, msc4155: boolean): Promise<(inviter: string) => InviteRule> {
  const [simple, detailed] = await Promise.all([
    globalAccountDataOfUsers(ctx.read, [userId], "m.invite_permission_config"),
    msc4155 ? globalAccountDataOfUsers(ctx.read, [userId], "org.matrix.msc4155.invite_permission_config") : undefined,
  ]);
  const plain = simple.get(userId);
  if (plain !== undefined) {
    const rule = parse(plain).default_action === "block" ? "block" : "allow";
    return () => rule;
  }
  const text = detailed?.get(userId);
  const config = text === undefined ? undefined : parse(text);
  return (inviter) => (config === undefined ? "allow" : matchRules(config, inviter));
}

/** The rule of an MSC4155 configuration for one inviter. Patterns over 255 characters do not count. */
export function matchRules(config: JsonObject, inviter: string): InviteRule {
  const server = inviter.slice(inviter.indexOf(":") + 1);
  for (const [field, of, rule] of FIELDS) {
    const patterns = config[field];
    if (!Array.isArray(patterns)) continue;
    const subject = of === "user" ? inviter : server;
    if (patterns.some((pattern) => typeof pattern === "string" && pattern !== "" && pattern.length <= 255 && matchesGlob(pattern, subject))) return rule;
  }
  return "allow";
}

/** `*` any run, `?` any one character, letters in any case; linear in the length of the text for each `*`, never backtracking further. */
function matchesGlob(pattern: string, text: string): boolean {
  const [glob, subject] = [pattern.toLowerCase(), text.toLowerCase()];
  let [at, from, star, mark] = [0, 0, -1, 0];
  while (from < subject.length) {
    if (glob[at] === "*") {
      star = at++;
      mark = from;
    } else if (at < glob.length && (glob[at] === "?" || glob[at] === subject[from])) {
      at++;
      from++;
    } else if (star >= 0) {
      at = star + 1;
      from = ++mark;
    } else {
      return false;
    }
  }
  while (glob[at] === "*") at++;
  return at === glob.length;
}

function parse(text: string): JsonObject {
  const value: unknown = JSON.parse(text);
  return isJsonObject(value) ? value : {};
}

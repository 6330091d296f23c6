import type { Config } from "../../src/config/config.ts";
import type { DatabaseCheck } from "../context.ts";
import { blocker, count, type Draft, note, ok, thousands, warning } from "../finding.ts";
import * as accounts from "../queries/accounts.ts";

/** Risks 4, 35, 44 and 100: what the accounts themselves say. */
const users: DatabaseCheck = {
  name: "accounts",
  risks: [4, 35, 44, 100],
  async run({ config, read }) {
    const found: Draft[] = [];
    const { serverName } = config.server;
    const numbers = await accounts.userNumbers(read, serverName);
    if (numbers.foreign > 0) {
      const what = `${count(numbers.foreign, "account")} of ${thousands(numbers.users)} ${numbers.foreign === 1 ? "is" : "are"} not of ${serverName}`;
      const words = {
        what,
        why: numbers.foreignFirst
          ? "Neither Synapse nor Myelin starts on the database of another server."
          : "Servers look at the first one only; these accounts cannot be used.",
        todo: "Set `server_name` to the domain of the accounts (it cannot be changed later), or name the right database.",
        examples: [numbers.foreignExample ?? ""],
      };
      found.push(numbers.foreignFirst || numbers.foreign * 2 > numbers.users ? blocker("risk-04", words) : warning("risk-04", words));
    } else found.push(ok("risk-04", `All ${thousands(numbers.users)} accounts are of ${serverName}`));
    if (numbers.oddHashes > 0) {
      const why = "Both servers check passwords by bcrypt alone: these users cannot sign in by password.";
      found.push(
        warning("risk-35", {
          what: `${count(numbers.oddHashes, "password")} ${numbers.oddHashes === 1 ? "is" : "are"} not kept as a bcrypt hash`,
          why,
          todo: "Give these users new passwords.",
        }),
      );
    } else found.push(ok("risk-35", `${count(numbers.withPassword, "password")} ${numbers.withPassword === 1 ? "is" : "are"} kept as bcrypt hashes`));
    if (numbers.oddFlags > 0) {
      const why = "Only 0 and 1 mean anything: a deactivated or guest account may be taken for another.";
      found.push(
        warning("risk-44", {
          what: `${count(numbers.oddFlags, "account has", "accounts have")} flags that are neither 0 nor 1`,
          why,
          todo: "Correct admin, deactivated and is_guest of these rows of `users`.",
        }),
      );
    } else found.push(ok("risk-44", "Flags of accounts are 0 or 1"));
    if (numbers.oddTimes > 0) {
      const why = "creation_ts counts seconds: these accounts seem to come from the far future.";
      found.push(
        warning("risk-100", {
          what: `${count(numbers.oddTimes, "account was", "accounts were")} created at a time in milliseconds`,
          why,
          todo: "Divide creation_ts of these rows of `users` by 1000.",
        }),
      );
    }
    return found;
  },
};

/** Risk 33. */
const tokens: DatabaseCheck = {
  name: "access-tokens",
  risks: [33],
  async run({ read }) {
    const lost = await accounts.tokensOfNobody(read);
    if (lost.count === 0) return [ok("risk-33", "All access tokens belong to accounts")];
    const what = `${more(lost.more)}${count(lost.count, "access token belongs", "access tokens belong")} to no account`;
    return [
      warning("risk-33", {
        what,
        why: "They let nobody in; rows of `users` have been lost.",
        todo: "Restore the accounts, or delete these tokens.",
        examples: lost.examples,
      }),
    ];
  },
};

const more = (yes: boolean): string => (yes ? "More than " : "");

/** The providers of the configuration, as `user_external_ids` names them. */
function configuredProviders({ oidc, saml2, cas }: Config): Set<string> {
  const names = oidc.providers.map(({ idpId }) => idpId);
  if (saml2.enabled) names.push("saml");
  if (cas.enabled) names.push("cas");
  return new Set(names);
}

/** Risk 37. */
const providers: DatabaseCheck = {
  name: "identity-providers",
  risks: [37],
  async run({ config, read }) {
    const configured = configuredProviders(config);
    const used = await accounts.authProviders(read);
    const gone = used.filter((name) => !configured.has(name));
    if (gone.length === 0)
      return [ok("risk-37", used.length === 0 ? "No account belongs to an identity provider" : `Accounts belong to ${used.join(", ")}, as configured`)];
    return [
      note("risk-37", {
        what: `Accounts belong to ${count(gone.length, "identity provider")} that the configuration does not name`,
        why: "Their owners would get new accounts if the provider came back under another idp_id.",
        todo: "Give --config-path all files that Synapse runs with; if the provider is gone for good, nothing.",
        examples: gone,
      }),
    ];
  },
};

/** Risk 45. */
const profiles: DatabaseCheck = {
  name: "profiles",
  risks: [45],
  async run({ read }) {
    const nameless = await accounts.namelessProfiles(read);
    if (nameless.count === 0) return [ok("risk-45", "Profiles and filters name their users in full")];
    const why = "They are looked up by the full user id: the profile, or the client's filter, is not found.";
    const todo = "While no server runs, set full_user_id to '@' || user_id || ':' || the server name.";
    return [
      warning("risk-45", {
        what: `${more(nameless.more)}${count(nameless.count, "profile or filter lacks", "profiles or filters lack")} its full_user_id`,
        why,
        todo,
        examples: nameless.examples,
      }),
    ];
  },
};

/** Risk 38. */
const flows: DatabaseCheck = {
  name: "flows",
  risks: [38],
  async run({ read, facts }) {
    const flowing = await accounts.flowsInProgress(read, facts.now);
    if (flowing === 0) return [ok("risk-38", "Nobody is in the middle of signing in or confirming an address")];
    const todo = "Swap at a quiet hour, or let them try again.";
    return [
      note("risk-38", {
        what: `${count(flowing, "sign-in or confirmation", "sign-ins or confirmations")} may be under way`,
        why: "What falls into the minutes of the swap fails once.",
        todo,
      }),
    ];
  },
};

/** Risk 43. */
const monthlyActive: DatabaseCheck = {
  name: "monthly-active-users",
  risks: [43],
  async run({ config, read }) {
    if (!config.server.limitUsageByMau) return [ok("risk-43", "The number of active users is not limited")];
    const active = await accounts.monthlyActive(read);
    const limit = config.server.maxMauValue;
    if (active < limit) return [ok("risk-43", `${thousands(active)} of ${thousands(limit)} monthly active users`)];
    const why = "Who is not among them yet is locked out, by Synapse and by Myelin.";
    return [warning("risk-43", { what: `${thousands(active)} monthly active users, and the limit is ${thousands(limit)}`, why, todo: "Raise max_mau_value." })];
  },
};

/** Risk 94. */
const profileUpdates: DatabaseCheck = {
  name: "profile-updates",
  risks: [94],
  async run({ config, read, facts }) {
    if (!facts.tables.has("profile_updates")) return [];
    const on = config.server.includeProfileUpdatesInSync;
    const any = await accounts.profileUpdates(read);
    if (on || !any) return [ok("risk-94", on ? "Profile updates are kept for sync" : "No profile updates are kept, as configured")];
    const todo = "Set include_profile_updates_in_sync again, or leave them.";
    return [
      note("risk-94", {
        what: "Profile updates are stored, though include_profile_updates_in_sync is off",
        why: "No server adds to them or shows them.",
        todo,
      }),
    ];
  },
};

export const accountChecks: readonly DatabaseCheck[] = [users, tokens, providers, profiles, flows, monthlyActive, profileUpdates];

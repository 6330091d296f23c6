import { findJavaScript } from "../src/services/modules/find-module.ts";
import { FILE_STORAGE, S3_STORAGE } from "../src/config/named-modules.ts";

/** Python modules, and storage providers, for which Myelin has a stand-in of its own; a test compares with the stand-ins. */
export const STAND_INS: ReadonlySet<string> = new Set([
  "ldap_auth_provider.LdapAuthProvider",
  "ldap_auth_provider.LdapAuthProviderModule",
  "mjolnir.AntiSpam",
  "mjolnir.Module",
  "mjolnir.antispam.AntiSpam",
  "rest_auth_provider.RestAuthProvider",
  "shared_secret_authenticator.SharedSecretAuthProvider",
  "shared_secret_authenticator.SharedSecretAuthenticator",
  "synapse_auto_accept_invite.InviteAutoAccepter",
  "synapse_domain_rule_checker.DomainRuleChecker",
  "synapse_user_restrictions.UserRestrictionsModule",
]);

/** What Myelin does with a module: its own stand-in, the JavaScript module of that name, or nothing. */
export type ModuleFate = "stand-in" | "javascript" | "missing";

export function fateOf(module: string, folder: string): ModuleFate {
  if (STAND_INS.has(module) || module === FILE_STORAGE || module === S3_STORAGE) return "stand-in";
  return findJavaScript(module, folder) === undefined ? "missing" : "javascript";
}

/** What users would miss without a well-known module, by the beginning of its name. */
const MISSED: readonly (readonly [prefix: string, what: string])[] = [
  ["ldap", "users whose passwords are in LDAP could not sign in"],
  ["synapse_http_antispam", "nobody asks the antispam service any more"],
  ["matrix_synapse_ldap", "users whose passwords are in LDAP could not sign in"],
  ["synapse_token_authenticator", "clients that sign in by such tokens could not do so"],
  ["synapse_s3", "media that lies in the bucket alone could not be served"],
  ["synapse_guest_module", "guests could not be made"],
  ["synapse_invite_checker", "invites are not checked any more"],
  ["synapse_room_access_rules", "rules about who may be in which room no longer hold"],
  ["synapse_ip_bindaddr", "requests go out from another address"],
];

export function whatIsMissed(module: string): string | undefined {
  return MISSED.find(([prefix]) => module.startsWith(prefix))?.[1];
}

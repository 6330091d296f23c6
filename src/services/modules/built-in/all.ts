import type { ConfigReader } from "../../../config/reader.ts";
import type { Context } from "../../context.ts";
import type { ModuleApi } from "../api.ts";
import { inviteAutoAccepter } from "./auto-accept-invites.ts";
import { domainRuleChecker } from "./domain-rules.ts";
import { ldapAuthProvider } from "./ldap.ts";
import { mjolnirAntiSpam } from "./mjolnir.ts";
import { restAuthProvider } from "./rest-auth.ts";
import { oldSharedSecretAuth, sharedSecretAuth } from "./shared-secret.ts";
import { userRestrictions } from "./user-restrictions.ts";

/** Registers what a Python module would. @throws ConfigError */
export type BuiltIn = (config: ConfigReader, api: ModuleApi, context: () => Context) => void;

/** What stands in for Python modules, by their class names. */
export const BUILT_INS: ReadonlyMap<string, BuiltIn> = new Map<string, BuiltIn>([
  ["ldap_auth_provider.LdapAuthProvider", ldapAuthProvider],
  ["ldap_auth_provider.LdapAuthProviderModule", ldapAuthProvider],
  ["mjolnir.AntiSpam", mjolnirAntiSpam],
  ["mjolnir.Module", mjolnirAntiSpam],
  ["mjolnir.antispam.AntiSpam", mjolnirAntiSpam],
  ["rest_auth_provider.RestAuthProvider", restAuthProvider],
  ["shared_secret_authenticator.SharedSecretAuthProvider", sharedSecretAuth],
  ["shared_secret_authenticator.SharedSecretAuthenticator", oldSharedSecretAuth],
  ["synapse_auto_accept_invite.InviteAutoAccepter", inviteAutoAccepter],
  ["synapse_domain_rule_checker.DomainRuleChecker", domainRuleChecker],
  ["synapse_user_restrictions.UserRestrictionsModule", userRestrictions],
]);

import type { ConfigReader } from "../reader.ts";
import type { ModuleConfig } from "./modules.ts";

/** Password checks by modules, in their old form (`authproviders`). */
export type PasswordProvidersConfig = ReturnType<typeof parsePasswordProviders>;

const LDAP = "ldap_auth_provider.LdapAuthProvider";

export function parsePasswordProviders(root: ConfigReader): { readonly providers: readonly ModuleConfig[] } {
  const providers: ModuleConfig[] = [];
  const ldap = root.object("ldap_config");
  const ldapEnabled = ldap.boolean("enabled", false);
  const ldapConfig = root.rawObject("ldap_config");
  if (ldapEnabled) providers.push({ module: LDAP, config: ldapConfig ?? {}, path: "ldap_config" });
  for (const reader of root.objects("password_providers")) {
    const module = reader.requiredString("module");
    providers.push({
      module: module === "synapse.util.ldap_auth_provider.LdapAuthProvider" ? LDAP : module,
      config: reader.rawObject("config") ?? {},
      path: reader.path,
    });
  }
  return { providers };
}

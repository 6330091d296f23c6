import type { ConfigReader } from "../reader.ts";

/** Modules by their Python class names (`modules`). Which ones Myelin knows is decided where modules are loaded. */
export type ModulesConfig = ReturnType<typeof parseModules>;

export interface ModuleConfig {
  /** Python class name, such as `ldap_auth_provider.LdapAuthProvider`. */
  readonly module: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Where it stands in the configuration. */
  readonly path: string;
}

export function parseModules(root: ConfigReader): { readonly modules: readonly ModuleConfig[] } {
  return { modules: root.objects("modules").map(parseModule) };
}

export function parseModule(reader: ConfigReader): ModuleConfig {
  return { module: reader.requiredString("module"), config: reader.rawObject("config") ?? {}, path: reader.path };
}

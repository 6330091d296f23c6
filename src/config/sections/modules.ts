import type { ConfigReader, ParseContext } from "../reader.ts";

/**
 * Modules by their Python class names, files or packages (`modules`). Which ones there are is decided where modules are loaded; `folder` is
 * what relative paths count from.
 */
export type ModulesConfig = ReturnType<typeof parseModules>;

export interface ModuleConfig {
  /** Python class name, such as `ldap_auth_provider.LdapAuthProvider`, a file such as `./antispam.js`, or a package. */
  readonly module: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Where it stands in the configuration. */
  readonly path: string;
}

export function parseModules(root: ConfigReader, ctx: Pick<ParseContext, "dataDir">): { readonly modules: readonly ModuleConfig[]; readonly folder: string } {
  return { modules: root.objects("modules").map(parseModule), folder: ctx.dataDir };
}

export function parseModule(reader: ConfigReader): ModuleConfig {
  return { module: reader.requiredString("module"), config: reader.rawObject("config") ?? {}, path: reader.path };
}

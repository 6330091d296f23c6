import type { Config } from "./config.ts";
import type { ModuleConfig } from "./sections/modules.ts";

/** Storage providers that need no module. */
export const FILE_STORAGE = "synapse.media.storage_provider.FileStorageProviderBackend";
export const S3_STORAGE = "s3_storage_provider.S3StorageProviderBackend";

/** A module that answers below a path of a listener (`additional_resources`, of old). */
export interface ResourceModule extends Pick<ModuleConfig, "module" | "path"> {
  /** The path that it serves, and the place in `listeners` of the one that has it. */
  readonly prefix: string;
  readonly listener: number;
  readonly config: unknown;
}

/** The modules of `additional_resources` of all listeners. */
export function resourceModules({ server }: Config): ResourceModule[] {
  return server.listeners.flatMap(({ additionalResources }, index) =>
    Object.entries(additionalResources).map(([prefix, resource]) => ({
      prefix,
      listener: index,
      path: `listeners[${index}].additional_resources.${prefix}`,
      ...resource,
    })),
  );
}

/** Each module and storage provider that the configuration names, and where. */
export function namedModules(config: Config): Pick<ModuleConfig, "module" | "path">[] {
  const { media, modules, passwordProviders, server, spamChecker, thirdPartyRules } = config;
  return [
    ...modules.modules,
    ...spamChecker.modules,
    ...thirdPartyRules.modules,
    ...(server.presence.router === undefined ? [] : [server.presence.router]),
    ...passwordProviders.providers,
    ...media.storageProviders.map(({ module }, index) => ({ module, path: `media_storage_providers[${index}]` })),
    ...resourceModules(config),
  ];
}

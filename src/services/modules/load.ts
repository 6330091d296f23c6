import { Readable } from "node:stream";
import type { Config } from "../../config/config.ts";
import { ConfigError } from "../../config/errors.ts";
import { FILE_STORAGE, namedModules, type ResourceModule, resourceModules, S3_STORAGE } from "../../config/named-modules.ts";
import { ConfigReader, ReadTracker } from "../../config/reader.ts";
import { noticesAboutOptions } from "../../config/unknown-options.ts";
import type { ModuleConfig } from "../../config/sections/modules.ts";
import type { Logger } from "../../lib/log.ts";
import type { Context } from "../context.ts";
import type { ProviderSettings, StorageProvider } from "../media/storage-provider.ts";
import type { ModuleApi } from "./api.ts";
import { acceptInvites } from "./built-in/auto-accept-invites.ts";
import { BUILT_INS } from "./built-in/all.ts";
import { findJavaScript, loadJavaScript, makeModule, ModuleMissing } from "./find-module.ts";
import { type LegacyKind, registerLegacy } from "./legacy.ts";
import type { ModuleRequest, ModuleResponse, WebResources } from "./web-resources.ts";

export interface ModuleLoading {
  readonly config: Config;
  readonly log: Logger;
  /** Start without modules that there are none of (`--allow-missing-modules`). */
  readonly allowMissing: boolean;
}

const BUILT_IN_STORAGE: readonly string[] = [FILE_STORAGE, S3_STORAGE];

/** A module of `media_storage_providers`: Synapse's methods. */
interface JavaScriptStorage {
  store_file(path: string, localFile: string): Promise<void>;
  fetch(path: string): Promise<Readable | Buffer | undefined | null>;
  /** Beyond Synapse: media that is deleted goes there, too. */
  delete_file?(path: string): Promise<void>;
}

/**
 * Looks for all modules of the configuration, before anything else is done.
 * @throws ConfigError that names every module that there is none of, unless the server is to start without them: then they are logged
 */
export function requireModules({ config, log, allowMissing }: ModuleLoading): void {
  const missing = namedModules(config).filter(({ module }) => !isThere(module, config.modules.folder));
  if (missing.length === 0) return;
  const names = missing.map(({ module, path }) => `${module} (${path})`).join(", ");
  if (!allowMissing) {
    throw new ConfigError(
      `found ${names}, which Myelin has nothing for: Python modules do not run here. Name a JavaScript module (a file such as ./antispam.js, or an installed package; see docs/modules.md), take the option out, or start with --allow-missing-modules to go without`,
      missing[0]!.path,
    );
  }
  const own = log.named("synapse.module_api");
  for (const { module, path } of missing) own.warn(`Starting without the module ${module} of ${path}: Myelin has nothing for it (--allow-missing-modules)`);
}

/**
 * Makes the modules of the configuration, in Synapse's order; they register what they want.
 * @throws ConfigError for a module that fails
 */
export async function loadModules({ config, log }: ModuleLoading, api: ModuleApi, context: () => Context): Promise<void> {
  const { folder } = config.modules;
  const own = log.named("synapse.module_api");
  const add = async (module: ModuleConfig, legacy?: LegacyKind): Promise<void> => {
    const builtIn = BUILT_INS.get(module.module);
    try {
      if (builtIn !== undefined) {
        const tracker = new ReadTracker();
        builtIn(new ConfigReader(module.config, tracker, `${module.path}.config`), api, context);
        for (const notice of noticesAboutOptions(module.config, tracker)) own.warn(`Configuration: ${module.path}.config.${notice}`);
      } else {
        const made = await makeModule(await loadJavaScript(module.module, folder), module.config, api);
        if (legacy !== undefined && typeof made === "object" && made !== null) registerLegacy(legacy, made, api);
      }
      own.info(`Loaded module ${module.module}`);
    } catch (error) {
      if (!(error instanceof ModuleMissing)) throw asConfigError(error, module);
    }
  };
  const { autoAcceptInvites, passwordProviders, server, spamChecker, thirdPartyRules } = config;
  for (const module of config.modules.modules) await add(module);
  if (autoAcceptInvites.enabled) acceptInvites(api, autoAcceptInvites);
  for (const module of spamChecker.modules) await add(module, "spam_checker");
  for (const module of thirdPartyRules.modules) await add(module, "third_party_event_rules");
  if (server.presence.router !== undefined) await add(server.presence.router, "presence_router");
  for (const module of passwordProviders.providers) await add(module, "password_providers");
  for (const resource of resourceModules(config)) await addResource(resource, folder, api, context().modules.webResources);
}

/** A storage provider in JavaScript; undefined: there is none, and the server starts without it. @throws ConfigError */
export async function loadStorageProvider(
  { config }: ModuleLoading,
  api: ModuleApi,
  settings: ProviderSettings,
  path: string,
): Promise<StorageProvider | undefined> {
  const module = { ...settings, path };
  try {
    const made = (await makeModule(await loadJavaScript(settings.module, config.modules.folder), settings.config, api)) as JavaScriptStorage;
    if (typeof made?.store_file !== "function" || typeof made.fetch !== "function") throw new Error("it has no store_file or no fetch");
    return {
      name: settings.module,
      storeLocal: settings.storeLocal,
      storeRemote: settings.storeRemote,
      synchronous: settings.storeSynchronous,
      store: (relativePath, localFile) => made.store_file(relativePath, localFile),
      async fetch(relativePath) {
        const found = await made.fetch(relativePath);
        return Buffer.isBuffer(found) ? Readable.from([found]) : (found ?? undefined);
      },
      delete: async (relativePath) => await made.delete_file?.(relativePath),
    };
  } catch (error) {
    if (!(error instanceof ModuleMissing)) throw asConfigError(error, module);
    return undefined;
  }
}

const isThere = (module: string, folder: string): boolean =>
  BUILT_INS.has(module) || BUILT_IN_STORAGE.includes(module) || findJavaScript(module, folder) !== undefined;

/** Legacy `additional_resources` of listeners: `handle_request` answers what is asked below the path, of that listener alone. */
async function addResource(resource: ResourceModule, folder: string, api: ModuleApi, resources: WebResources): Promise<void> {
  try {
    const made = (await makeModule(await loadJavaScript(resource.module, folder), resource.config, api)) as {
      handle_request?: (request: ModuleRequest) => Promise<ModuleResponse>;
    };
    if (typeof made?.handle_request !== "function") throw new Error("it has no handle_request");
    resources.register(resource.prefix, (request) => made.handle_request!(request), resource.listener);
  } catch (error) {
    if (!(error instanceof ModuleMissing)) throw asConfigError(error, resource);
  }
}

function asConfigError(error: unknown, { module, path }: Pick<ModuleConfig, "module" | "path">): Error {
  if (error instanceof ConfigError) return error;
  const wrapped = new ConfigError(`the module ${module} failed: ${error instanceof Error ? error.message : String(error)}`, path);
  wrapped.cause = error;
  return wrapped;
}

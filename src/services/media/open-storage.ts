import { ConfigReader, ReadTracker } from "../../config/reader.ts";
import { S3_PROVIDER, S3StorageProvider } from "./s3-storage-provider.ts";
import { FileStorageProvider, type ProviderSettings, type StorageProvider } from "./storage-provider.ts";

const FILE_PROVIDER = "synapse.media.storage_provider.FileStorageProviderBackend";

/**
 * The providers of `media_storage_providers`, in their order. `load` makes those that are no part of the server; undefined: the provider is
 * missing, and the admin wants to start without it.
 * @throws ConfigError
 */
export async function openStorageProviders(
  settings: readonly ProviderSettings[],
  load: (provider: ProviderSettings, path: string) => Promise<StorageProvider | undefined>,
): Promise<StorageProvider[]> {
  const providers: StorageProvider[] = [];
  for (const [index, provider] of settings.entries()) {
    const path = `media_storage_providers[${index}]`;
    const { storeLocal, storeRemote, storeSynchronous } = provider;
    if (provider.module === FILE_PROVIDER)
      providers.push(new FileStorageProvider(String(provider.config.directory), storeLocal, storeRemote, storeSynchronous));
    else if (provider.module === S3_PROVIDER)
      providers.push(new S3StorageProvider(provider, new ConfigReader(provider.config, new ReadTracker(), `${path}.config`)));
    else {
      const loaded = await load(provider, path);
      if (loaded !== undefined) providers.push(loaded);
    }
  }
  return providers;
}

import type { Readable } from "node:stream";
import type { ConfigReader } from "../../config/reader.ts";
import { S3Bucket } from "../../outbound/s3.ts";
import type { ProviderSettings, StorageProvider } from "./storage-provider.ts";

/** Python class of Synapse's S3 module. */
export const S3_PROVIDER = "s3_storage_provider.S3StorageProviderBackend";

const STORAGE_CLASSES = ["STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "INTELLIGENT_TIERING"] as const;
const CHECKSUMS = ["when_required", "when_supported"] as const;

/** Media in a bucket of S3, configured as Synapse's `synapse-s3-storage-provider`: keys are the paths in the media store, after the prefix. */
export class S3StorageProvider implements StorageProvider {
  readonly name = "s3";
  readonly storeLocal: boolean;
  readonly storeRemote: boolean;
  readonly synchronous: boolean;
  private readonly bucket: S3Bucket;
  private readonly prefix: string;

  /** @throws ConfigError */
  constructor(settings: ProviderSettings, config: ConfigReader) {
    ({ storeLocal: this.storeLocal, storeRemote: this.storeRemote, storeSynchronous: this.synchronous } = settings);
    config.raw("threadpool_size"); // node needs no threads for it
    this.prefix = config.string("prefix") ?? "";
    this.bucket = new S3Bucket({
      bucket: config.requiredString("bucket"),
      region: config.text("region_name"),
      endpoint: config.string("endpoint_url"),
      accessKeyId: config.text("access_key_id"),
      secretAccessKey: config.text("secret_access_key"),
      sessionToken: config.text("session_token"),
      storageClass: config.oneOf("storage_class", STORAGE_CLASSES) ?? "STANDARD",
      customerKey: config.text("sse_customer_key"),
      customerAlgorithm: config.string("sse_customer_algo") ?? "AES256",
      requestChecksums: config.oneOf("request_checksum_calculation", CHECKSUMS) ?? "when_required",
      responseChecksums: config.oneOf("response_checksum_validation", CHECKSUMS) ?? "when_required",
    });
  }

  async store(relativePath: string, localFile: string): Promise<void> {
    await this.bucket.put(this.prefix + relativePath, localFile);
  }

  async fetch(relativePath: string): Promise<Readable | undefined> {
    return await this.bucket.get(this.prefix + relativePath);
  }

  async delete(relativePath: string): Promise<void> {
    await this.bucket.deleteTree(this.prefix + relativePath);
  }

  close(): void {
    this.bucket.close();
  }
}

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { Readable } from "node:stream";
import type * as Sdk from "@aws-sdk/client-s3";
import { lazyModule } from "../lib/lazy-module.ts";

const sdk = lazyModule<typeof Sdk>("@aws-sdk/client-s3");

/** How a bucket is reached. What is undefined is looked for where Amazon's tools look: the environment, `~/.aws`, the machine's role. */
export interface S3Options {
  readonly bucket: string;
  readonly region: string | undefined;
  /** Another service that speaks S3; buckets stand in the path there. */
  readonly endpoint: string | undefined;
  readonly accessKeyId: string | undefined;
  readonly secretAccessKey: string | undefined;
  readonly sessionToken: string | undefined;
  readonly storageClass: string;
  /** SSE-C: objects are encrypted with this key, which the service does not keep. */
  readonly customerKey: string | undefined;
  readonly customerAlgorithm: string;
  /** `when_required` or `when_supported`. */
  readonly requestChecksums: string;
  readonly responseChecksums: string;
}

const ATTEMPTS = 3;
const nothing = (): void => {};
const QUIET = { trace: nothing, debug: nothing, info: nothing, warn: nothing, error: nothing };

/** A bucket of S3, or of what speaks like it. The SDK is loaded when it is first used. */
export class S3Bucket {
  private opened: Sdk.S3Client | undefined;

  constructor(private readonly options: S3Options) {}

  /** Stores a file. @throws Error */
  async put(key: string, file: string): Promise<void> {
    const { bucket, storageClass } = this.options;
    const { size } = await stat(file);
    for (let attempt = 1; ; attempt++) {
      const body = createReadStream(file);
      try {
        const input = { Bucket: bucket, Key: key, Body: body, ContentLength: size, StorageClass: storageClass as Sdk.StorageClass, ...this.encryption() };
        await this.client().send(new (sdk().PutObjectCommand)(input));
        return;
      } catch (error) {
        // The SDK does not send a stream twice.
        if (attempt === ATTEMPTS || isRefusal(error)) throw error;
      } finally {
        body.destroy();
      }
    }
  }

  /** The object, or undefined when there is none. @throws Error */
  async get(key: string): Promise<Readable | undefined> {
    try {
      const { Body: body } = await this.client().send(new (sdk().GetObjectCommand)({ Bucket: this.options.bucket, Key: key, ...this.encryption() }));
      return body as Readable | undefined;
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw error;
    }
  }

  /** Deletes an object, and all whose keys begin with it and a slash. What is not there is no error. @throws Error */
  async deleteTree(key: string): Promise<void> {
    const { bucket } = this.options;
    await this.client().send(new (sdk().DeleteObjectCommand)({ Bucket: bucket, Key: key }));
    let token: string | undefined;
    do {
      const page: Sdk.ListObjectsV2CommandOutput = await this.client().send(
        new (sdk().ListObjectsV2Command)({ Bucket: bucket, Prefix: `${key}/`, ContinuationToken: token }),
      );
      for (const { Key: found } of page.Contents ?? [])
        if (found !== undefined) await this.client().send(new (sdk().DeleteObjectCommand)({ Bucket: bucket, Key: found }));
      token = page.NextContinuationToken;
    } while (token !== undefined);
  }

  close(): void {
    this.opened?.destroy();
  }

  private client(): Sdk.S3Client {
    const { endpoint, region, accessKeyId, secretAccessKey, sessionToken, requestChecksums, responseChecksums } = this.options;
    this.opened ??= new (sdk().S3Client)({
      ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
      ...(region === undefined ? (endpoint === undefined ? {} : { region: "us-east-1" }) : { region }),
      ...(accessKeyId === undefined || secretAccessKey === undefined
        ? {}
        : { credentials: { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) } }),
      logger: QUIET, // it writes to the console by itself; what fails is logged where it matters
      requestChecksumCalculation: requestChecksums === "when_supported" ? "WHEN_SUPPORTED" : "WHEN_REQUIRED",
      responseChecksumValidation: responseChecksums === "when_supported" ? "WHEN_SUPPORTED" : "WHEN_REQUIRED",
    });
    return this.opened;
  }

  private encryption(): { SSECustomerAlgorithm?: string; SSECustomerKey?: string } {
    const { customerKey, customerAlgorithm } = this.options;
    if (customerKey === undefined) return {};
    // As bytes: a key that happens to be base64 is not decoded, as Python's library does not either.
    return { SSECustomerAlgorithm: customerAlgorithm, SSECustomerKey: Buffer.from(customerKey, "utf8") as unknown as string };
  }
}

const statusOf = (error: unknown): number | undefined => (error as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode;
const isRefusal = (error: unknown): boolean => (statusOf(error) ?? 500) < 500;

import { callModule } from "../refusals.ts";
import type { JsonObject } from "../../../lib/json.ts";

type MaybePromise<T> = T | Promise<T>;

/** How much a user may upload within a time. */
export interface MediaUploadLimit {
  readonly max_bytes: number;
  readonly time_period_ms: number;
  readonly info_uri?: string | undefined;
  readonly can_upgrade?: boolean;
}

/** Synapse's media repository callbacks. Errors go to the client. */
export interface MediaRepositoryCallbacks {
  /** The answer of `/media/config`, in place of the server's. */
  get_media_config_for_user?(userId: string): MaybePromise<JsonObject | undefined | null>;
  is_user_allowed_to_upload_media_of_size?(userId: string, size: number): MaybePromise<boolean>;
  /** In place of `media_upload_limits`; an empty list: no limit. */
  get_media_upload_limits_for_user?(userId: string): MaybePromise<readonly MediaUploadLimit[] | undefined | null>;
  on_media_upload_limit_exceeded?(userId: string, limit: MediaUploadLimit, sentBytes: number, attemptedBytes: number): MaybePromise<void>;
}

/** What modules say about uploads. */
export class MediaModules {
  private readonly modules: MediaRepositoryCallbacks[] = [];

  register(callbacks: MediaRepositoryCallbacks): void {
    this.modules.push(callbacks);
  }

  async configFor(userId: string): Promise<JsonObject | undefined> {
    for (const module of this.modules) {
      const config = await callModule(() => module.get_media_config_for_user?.(userId));
      if (config !== undefined && config !== null && Object.keys(config).length > 0) return config;
    }
    return undefined;
  }

  async maySend(userId: string, size: number): Promise<boolean> {
    for (const module of this.modules)
      if (
        module.is_user_allowed_to_upload_media_of_size !== undefined &&
        !(await callModule(() => module.is_user_allowed_to_upload_media_of_size!(userId, size)))
      )
        return false;
    return true;
  }

  /** Longest period first; undefined: those of the config. */
  async limitsFor(userId: string): Promise<MediaUploadLimit[] | undefined> {
    for (const module of this.modules) {
      const limits = await callModule(() => module.get_media_upload_limits_for_user?.(userId));
      if (limits !== undefined && limits !== null) return [...limits].sort((one, other) => other.time_period_ms - one.time_period_ms);
    }
    return undefined;
  }

  async limitExceeded(userId: string, limit: MediaUploadLimit, sentBytes: number, attemptedBytes: number): Promise<void> {
    for (const module of this.modules) await callModule(() => module.on_media_upload_limit_exceeded?.(userId, { ...limit }, sentBytes, attemptedBytes));
  }
}

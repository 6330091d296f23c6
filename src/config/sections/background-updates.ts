import type { ConfigReader } from "../reader.ts";

/** The pace of background updates (`background_updates`). */
export type BackgroundUpdatesConfig = ReturnType<typeof parseBackgroundUpdates>;

export function parseBackgroundUpdates(root: ConfigReader) {
  const raw = root.object("background_updates");
  return {
    /** How long one batch should take. */
    updateDurationMs: raw.integer("background_update_duration_ms", 100),
    sleepEnabled: raw.boolean("sleep_enabled", true),
    sleepDurationMs: raw.integer("sleep_duration_ms", 1000),
    minBatchSize: raw.integer("min_batch_size", 1),
    defaultBatchSize: raw.integer("default_batch_size", 100),
  };
}

import type { Config } from "../config/config.ts";
import { accountJobs } from "../services/accounts/jobs.ts";
import { applyMediaRetention, purgeByRetention } from "../services/admin/retention.ts";
import { pruneDeviceTables } from "../services/devices/hooks.ts";
import { retryResyncs } from "../services/devices/lists-remote.ts";
import { eventJobs } from "../services/events/jobs.ts";
import { refreshRemoteProfiles } from "../services/federation/queries/refresh-profiles.ts";
import { rotateNotifications } from "../services/push/rotate.ts";
import { cleanMessageIndex, indexUnspacedMessages } from "../services/rooms/message-index.ts";
import { deleteUnusedGroups } from "../services/rooms/purge.ts";
import { compressAsConfigured } from "../services/state-compression/compress.ts";
import { deleteReceivedTransactions } from "../storage/federation/received-transactions.ts";
import { saveStreamPositions } from "../storage/stream-ids.ts";
import { flushMediaUses } from "../services/media/media.ts";
import { expirePreviews } from "../services/media/preview/expire.ts";
import { cullExpiredTokens } from "../services/threepid/validation.ts";
import type { Context } from "../services/context.ts";
import type { Job } from "./periodic.ts";

/** Every periodic job of the server. */
export const jobs = (config: Config): readonly Job[] => [...COMMON, ...purgeJobs(config)];

/** One for each of `retention.purge_jobs`. */
function purgeJobs({ retention }: Config): Job[] {
  if (!retention.enabled) return [];
  return retention.purgeJobs.map((job, index) => ({
    name: index === 0 ? "purge_history_for_rooms_in_range" : `purge_history_for_rooms_in_range-${index + 1}`,
    intervalMs: job.intervalMs,
    run: (ctx, signal) => purgeByRetention(ctx, job, signal),
  }));
}

const indexesMessages = ({ config }: Context): boolean => config.myelin.search.unspacedLanguages;

const COMMON: readonly Job[] = [
  ...accountJobs,
  { name: "launch_scheduled_tasks", intervalMs: 60_000, run: (ctx) => Promise.resolve(ctx.tasks.launch()) },
  { name: "clean_scheduled_tasks", intervalMs: 60_000, run: (ctx) => ctx.tasks.clean() },
  ...eventJobs,
  { name: "_delete_state_groups_loop", intervalMs: 60_000, run: deleteUnusedGroups },
  {
    name: "compress_state_groups",
    intervalMs: 3_600_000,
    when: ({ config }) => config.myelin.stateCompression !== undefined,
    run: compressAsConfigured,
  },
  { name: "index_unspaced_messages", intervalMs: 1000, when: indexesMessages, run: indexUnspacedMessages },
  { name: "clean_message_index", intervalMs: 3_600_000, when: indexesMessages, run: cleanMessageIndex },
  { name: "rotate_notifs", intervalMs: 30_000, run: (ctx, signal) => rotateNotifications(ctx, signal) },
  { name: "prune_device_tables", intervalMs: 3_600_000, run: pruneDeviceTables },
  {
    name: "wake_destinations_needing_catchup",
    intervalMs: 60_000,
    when: (ctx) => ctx.config.workers.sendFederation,
    run: (ctx) => ctx.federationSender.wakeWaiting(),
  },
  {
    name: "cleanup_transactions",
    intervalMs: 1_800_000,
    // A server that has had no answer for a day begins anew.
    run: (ctx) => ctx.transaction("_cleanup_transactions", (txn) => deleteReceivedTransactions(txn, ctx.clock.now() - 86_400_000)),
  },
  { name: "sync_partial_state_room", intervalMs: 30_000, run: (ctx, signal) => ctx.roomCompletion.run(ctx, signal) },
  {
    name: "user_directory.refresh_remote_profiles",
    intervalMs: 15_000,
    when: ({ config }) => config.workers.shouldUpdateUserDirectory,
    run: refreshRemoteProfiles,
  },
  { name: "_maybe_retry_device_resync", intervalMs: 30_000, run: (ctx) => retryResyncs(ctx) },
  {
    name: "save_stream_positions",
    intervalMs: 1_000,
    run: (ctx) => saveStreamPositions(ctx.db, ctx.streams),
  },
  { name: "cull_expired_threepid_validation_tokens", intervalMs: 1_800_000, run: (ctx) => cullExpiredTokens(ctx) },
  { name: "update_recently_accessed_media", intervalMs: 60_000, run: (ctx) => flushMediaUses(ctx) },
  {
    name: "apply_media_retention_rules",
    intervalMs: 3_600_000,
    when: ({ config: { media } }) => media.localMediaLifetimeMs !== undefined || media.remoteMediaLifetimeMs !== undefined,
    run: applyMediaRetention,
  },
  {
    name: "expire_url_cache_data",
    intervalMs: 10_000,
    when: ({ urlPreviews }) => urlPreviews !== undefined,
    run: (ctx) => expirePreviews(ctx),
  },
  {
    name: "evict_rendezvous_sessions",
    intervalMs: 60_000,
    when: ({ config }) => config.experimental.msc4108Enabled || config.experimental.msc4388Enabled,
    run: ({ rendezvous }) => {
      rendezvous.msc4108.evict();
      rendezvous.msc4388.evict();
      return Promise.resolve();
    },
  },
  { name: "delete_old_sliding_sync_connections", intervalMs: 3_600_000, run: (ctx) => ctx.slidingConnections.expire() },
];

import { KNOWN_ROOM_VERSIONS } from "../../protocol/room-versions.ts";
import * as batches from "../../storage/jobs/background-updates-batches.ts";
import { coverRooms } from "../../storage/jobs/background-updates-chains.ts";
import * as old from "../../storage/jobs/background-updates-old.ts";
import { insertQuarantineChanges } from "../../storage/media/quarantine.ts";
import { analyze, createIndex, dropIndexes } from "../../storage/jobs/background-updates.ts";
import { expectedCatalogue } from "../../storage/schema/catalogue-file.ts";
import { resignEvents } from "./resign.ts";
import * as slidingSync from "./sliding-sync.ts";
import * as statistics from "./statistics.ts";
import type { Update, UpdateContext } from "./update.ts";
import * as directory from "./user-directory.ts";

/** The largest integer of canonical JSON: no depth is greater. */
const MAX_DEPTH = Number.MAX_SAFE_INTEGER;

/** Indexes that another update's index makes superfluous. */
const REPLACES: Readonly<Record<string, string>> = {
  event_txn_id_device_id_txn_id2: "event_txn_id_device_id_txn_id",
  sliding_sync_membership_snapshots_user_id_stream_ordering: "sliding_sync_membership_snapshots_user_id",
  event_edges_replace_index: "ev_edges_id",
  state_group_edges_unique_idx: "state_group_edges_idx",
};

/** Postgres cuts names off here. */
const MAX_NAME = 63;

/** All updates that make an index of the schema. */
function indexUpdates(): [string, Update][] {
  const { tables, known_background_update_handlers: known } = expectedCatalogue();
  const indexes = new Map(Object.values(tables).flatMap((table) => table.indexes.map((index) => [index.name, index.definition] as const)));
  return known.flatMap(({ name, kind, index }): [string, Update][] => {
    const definition = kind === "create_index" && index !== undefined ? indexes.get(index.slice(0, MAX_NAME)) : undefined;
    return definition === undefined
      ? []
      : [
          [
            name,
            { kind: "index", index: { name: index!.slice(0, MAX_NAME), definition: definition.replace(" ON public.", " ON "), replaces: REPLACES[name] } },
          ],
        ];
  });
}

const inBatches = (batch: batches.BatchFunction, afterwards?: (ctx: UpdateContext) => Promise<void>): Update => ({
  kind: "batches",
  batch,
  ...(afterwards && { afterwards }),
});
const dropping = (...names: string[]): Update => ({ kind: "once", run: (ctx) => dropIndexes(ctx.db, names) });
const threadIds = (table: "event_push_actions" | "event_push_actions_staging" | "event_push_summary"): Update => ({
  kind: "constraint",
  table,
  constraint: `${table}_thread_id`,
  repair: batches.fillThreadIds(table),
});
/** Removes what a unique index would not bear, then makes it. */
const uniqueIndex = (table: string, name: string, deduplicate: batches.BatchFunction): Update =>
  inBatches(deduplicate, (ctx) => {
    const index = expectedCatalogue().tables[table]!.indexes.find((candidate) => candidate.name === name)!;
    return createIndex(ctx.db, { name, definition: index.definition.replace(" ON public.", " ON ") });
  });

/** Updates that Synapse queues for databases of the supported schema versions, and those an admin can ask for. */
const CURRENT: readonly [string, Update][] = [
  ["threads_backfill", inBatches(batches.backfillThreads)],
  ["event_resign", { kind: "service", batch: resignEvents }],
  ["populate_stats_process_rooms", { kind: "service", batch: statistics.processRooms }],
  ["populate_stats_process_users", { kind: "service", batch: statistics.processUsers }],
  ["populate_user_directory_createtables", { kind: "service", batch: directory.createTables }],
  ["populate_user_directory_process_rooms", { kind: "service", batch: directory.processRooms }],
  ["populate_user_directory_process_users", { kind: "service", batch: directory.processUsers }],
  ["populate_user_directory_cleanup", { kind: "service", batch: directory.cleanUp }],
  ["set_device_id_for_pushers", inBatches(batches.setPusherDevices)],
  ["delete_e2e_backup_keys_for_deactivated_users", inBatches(batches.deleteKeysOfDeactivated)],
  ["populate_full_user_id_profiles", { kind: "constraint", table: "profiles", constraint: "full_user_id_not_null", repair: batches.fillProfileUserIds }],
  ["populate_full_user_id_user_filters", { kind: "constraint", table: "user_filters", constraint: "full_user_id_not_null", repair: batches.fillFilterUserIds }],
  ["event_push_actions_staging_thread_id", threadIds("event_push_actions_staging")],
  ["event_push_actions_thread_id", threadIds("event_push_actions")],
  ["event_push_summary_thread_id", threadIds("event_push_summary")],
  ["event_push_drop_null_thread_id_indexes", dropping("event_push_actions_thread_id_null", "event_push_summary_thread_id_null")],
  [
    "event_forward_extremities_event_id_foreign_key_constraint_update",
    { kind: "constraint", table: "event_forward_extremities", constraint: "event_forward_extremities_event_id", repair: batches.deleteUnknownExtremities },
  ],
  ["cleanup_device_federation_outbox", inBatches(batches.deleteMessagesToNoServer)],
  ["sliding_sync_membership_snapshots_bg_update", { kind: "service", batch: slidingSync.fillSnapshots }],
  ["sliding_sync_prefill_joined_rooms_to_recalculate_table_bg_update", { kind: "service", batch: slidingSync.queueRooms }],
  ["sliding_sync_joined_rooms_bg_update", { kind: "service", batch: slidingSync.fillJoinedRooms }],
  ["sliding_sync_membership_snapshots_fix_forgotten_column_bg_update", inBatches(batches.refreshForgotten)],
  ["mark_unreferenced_state_groups_for_deletion_bg_update", inBatches(batches.markUnreferencedGroups)],
  [
    "fixup_max_depth_cap",
    inBatches(
      batches.capDepths(
        KNOWN_ROOM_VERSIONS.filter((version) => version.strictCanonicalJson).map((version) => version.id),
        MAX_DEPTH,
      ),
    ),
  ],
  ["redactions_recheck", inBatches(batches.fillRecheck)],
  [
    "flag_existing_quarantined_media",
    {
      kind: "service",
      batch: async (ctx, txn, progress, size) => {
        const found = await batches.quarantinedMedia(txn, { progress, size, serverName: ctx.config.server.serverName, now: ctx.clock.now() });
        if (found.media.length > 0) {
          const streamIds = await ctx.streams.quarantinedMedia.next(txn, found.media.length);
          const media = found.media.map(({ origin, mediaId }) => ({ origin: origin ?? undefined, mediaId }));
          await insertQuarantineChanges(txn, { streamIds, instanceName: ctx.config.workers.instanceName, media, quarantined: true });
        }
        return found;
      },
    },
  ],
];

/** Older ones, for databases on which somebody kept them from running, or queued them again by hand. */
const OLDER: readonly [string, Update][] = [
  ["receipts_linearized_unique_index", uniqueIndex("receipts_linearized", "receipts_linearized_unique_index", old.deduplicateReceipts)],
  ["receipts_graph_unique_index", uniqueIndex("receipts_graph", "receipts_graph_unique_index", old.deduplicateReceiptsGraph)],
  ["populate_event_stream_ordering", inBatches(old.fillReceiptOrderings)],
  ["event_search", { kind: "service", batch: (ctx, txn, progress, size) => old.fillEventSearch(txn, progress, size, ctx.config.server.enableSearch) }],
  ["purged_chain_cover", inBatches(old.deletePurgedChains)],
  ["chain_cover", { kind: "service", batch: (_ctx, txn, progress, size) => coverRooms(txn, progress, size) }],
  ["remove_deactivated_pushers", inBatches(old.deletePushersOfDeactivated)],
  ["remove_stale_pushers", inBatches(old.deleteStalePushers)],
  ["remove_deleted_email_pushers", inBatches(old.deletePushersOfUnknownAddresses)],
  ["remove_dead_devices_from_device_inbox", inBatches(old.deleteMessagesToNoDevice)],
  ["remove_dup_outbound_pokes", inBatches(old.deduplicatePokes)],
  ["delete_account_data_for_deactivated_users", inBatches(old.deleteAccountDataOfDeactivated)],
  ["device_inbox_stream_drop", dropping("device_inbox_stream_id")],
  ["drop_device_list_streams_non_unique_indexes", dropping("device_lists_remote_cache_id", "device_lists_remote_extremeties_id")],
  ["media_repository_drop_index_wo_method_2", dropping("local_media_repository_thumbn_media_id_thumbnail_width_thumbnail_h")],
  ["user_ips_drop_nonunique_index", dropping("user_ips_user_ip")],
  ["user_ips_analyze", { kind: "once", run: (ctx) => analyze(ctx.db, "user_ips") }],
];

/** Each background update that this server can do, by Synapse's name. */
export const UPDATES: ReadonlyMap<string, Update> = new Map([...indexUpdates(), ...CURRENT, ...OLDER]);

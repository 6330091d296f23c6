import { type Database, LastStatements, query, type Txn } from "../../database.ts";
import { insertPushActions } from "../../push/actions.ts";
import type { Streams } from "../../stream-ids.ts";
import type { Batch } from "./batch.ts";
import { Statements } from "./bulk.ts";
import * as rows from "./event-tables.ts";
import { type EventTable, insertEvents } from "./event-tables.ts";
import { recordProfileMoves } from "./profile-moves.ts";
import { applyRedactions, updateThreads } from "./relation-tables.ts";
import * as state from "./state-tables.ts";

type Step = (statements: Statements, batch: Batch) => Promise<unknown>;

/**
 * Everything that an event touches, in the order in which it is written (foreign keys and triggers look back): risk 64. Each step is
 * at most one statement a table, whatever the number of events, and none when it has nothing to write. The statements leave at once,
 * without waiting for each other; what every event writes goes as one statement.
 */
const LAYOUT: readonly Step[] = [
  state.guard, //                            rooms, state_groups (held), state_groups_pending_deletion
  state.insertStateGroups, //                state_groups, state_group_edges, state_groups_state
  together(
    insert(rows.eventJson),
    insert(rows.events),
    insert(rows.eventToStateGroups),
    insert(rows.eventEdges),
    state.updateForwardExtremities, //       event_forward_extremities, stream_ordering_to_exterm
    rows.insertTransactionIds, //            event_txn_id_device_id
    rows.insertEventSearch, //               event_search
    insertActions, //                        event_push_actions
    state.touchJoinedRooms, //               sliding_sync_joined_rooms: newest event
  ),
  insert(rows.stateEvents),
  insert(rows.eventAuth),
  state.updateOutliers, //                   events.outlier, ex_outlier_stream
  rows.markForCensoring, //                  redactions.have_censored
  insert(rows.partialStateEvents),
  state.updateChainCover, //                 event_auth_chains, event_auth_chain_links, event_auth_chain_to_calculate
  insert(rows.rejections),
  state.updateBackwardExtremities, //        event_backward_extremities, timeline_gaps, event_failed_pull_attempts
  state.updateRoomDepth, //                  room_depth
  insert(rows.redactions),
  insert(rows.roomRetention),
  insert(rows.eventRelations),
  updateThreads, //                          threads
  insert(rows.eventLabels),
  insert(rows.eventExpiry),
  insert(rows.stickyEvents),
  applyRedactions, //                        event_push_actions, event_relations, threads
  insert(rows.roomMemberships),
  state.updateCurrentState, //               current_state_delta_stream, current_state_events, sliding_sync_joined_rooms of rooms left
  state.updateLocalMemberships, //           local_current_membership
  recordProfileMoves, //                     profile_updates, profile_updates_per_user
  state.updateSlidingSync, //                sliding_sync_joined_rooms: state; sliding_sync_membership_snapshots
  state.markParticipants, //                 room_memberships.participant
  state.updateBanRedactions, //              room_ban_redactions
];

function insert(table: EventTable): Step {
  return (statements, batch) => insertEvents(statements, batch, table);
}

function together(...steps: readonly Step[]): Step {
  return async (statements, batch) => {
    const all = new Statements();
    const added = Promise.all(steps.map((step) => step(all, batch)));
    statements.addTogether(all);
    await added;
  };
}

async function insertActions(statements: Statements, batch: Batch): Promise<void> {
  await insertPushActions(
    statements,
    rows
      .accepted(batch)
      .map(({ event, streamOrdering, push }) => ({ roomId: event.roomId, eventId: event.eventId, depth: event.depth, streamOrdering, actions: push })),
  );
}

type WrittenStreams = Pick<Streams, "events" | "backfill" | "profileUpdates" | "stickyEvents">;

/**
 * Writes a batch: two packets, one that takes the ids, one with all else and the COMMIT.
 * @throws GoneWhilePersisting when a room or state group that it builds on is no longer there
 */
export async function writeBatch(db: Database, streams: WrittenStreams, batch: Batch, stored: () => void): Promise<void> {
  try {
    await db.transaction("persist_events", async (txn) => {
      txn.afterCommit(stored);
      await takeIds(txn, streams, batch);
      const statements = new Statements();
      await Promise.all(LAYOUT.map((step) => step(statements, batch)));
      return new LastStatements(statements.send(txn));
    });
  } catch (error) {
    throw state.isGuardFailure(error) ? new state.GoneWhilePersisting("A room or state group was deleted meanwhile") : error;
  }
}

/** Stream orderings in the order of the rooms and their events, state group and chain numbers. Given back when the transaction fails. */
async function takeIds(txn: Txn, streams: WrittenStreams, batch: Batch): Promise<void> {
  const ordered = (backfilled: boolean) =>
    batch.rooms.filter((room) => room.backfilled === backfilled).flatMap((room) => [...room.events, ...room.deoutliered]);
  const live = ordered(false);
  const eventless = batch.rooms.filter((room) => state.hasNoEvents(room));
  const old = ordered(true);
  const snapshots = batch.rooms.flatMap((room) => room.snapshots.map(({ snapshot }) => snapshot));
  const chains = batch.rooms.flatMap((room) => room.chains ?? []);
  txn.afterRollback(() => {
    for (const snapshot of snapshots) snapshot.id = undefined;
  });
  const none: number[] = [];
  const sticky = batch.options.stickyEvents ? rows.stickyOnes(batch) : [];
  const moves = batch.rooms.flatMap((room) => room.profileMoves);
  const [liveIds, oldIds, groupIds, chainIds, stickyIds, moveIds] = await Promise.all([
    live.length + eventless.length > 0 ? streams.events.next(txn, live.length + eventless.length) : none,
    old.length > 0 ? streams.backfill.next(txn, old.length) : none,
    takeNumbers(txn, "state_group_id_seq", snapshots.length),
    takeNumbers(
      txn,
      "event_auth_chain_id",
      chains.reduce((sum, plan) => sum + plan.newChains, 0),
    ),
    sticky.length > 0 ? streams.stickyEvents.next(txn, sticky.length) : none,
    moves.length > 0 ? streams.profileUpdates.next(txn, moves.length) : none,
  ]);
  live.forEach((planned, index) => (planned.streamOrdering = liveIds[index]!));
  eventless.forEach((room, index) => (room.position = liveIds[live.length + index]!));
  old.forEach((planned, index) => (planned.streamOrdering = -oldIds[index]!));
  snapshots.forEach((snapshot, index) => (snapshot.id = groupIds[index]!));
  sticky.forEach((planned, index) => (planned.stickyId = stickyIds[index]!));
  moves.forEach((move, index) => (move.streamId = moveIds[index]!));
  let used = 0;
  for (const plan of chains) {
    const real = (chain: number): number => (chain < 0 ? chainIds[used - chain - 1]! : chain);
    for (const position of plan.positions) position.chain = real(position.chain);
    for (const link of plan.links) {
      link.originChain = real(link.originChain);
      link.targetChain = real(link.targetChain);
    }
    used += plan.newChains;
  }
}

async function takeNumbers(txn: Txn, sequence: "state_group_id_seq" | "event_auth_chain_id", count: number): Promise<number[]> {
  if (count === 0) return [];
  return (await query<{ id: number }>(txn, `SELECT nextval('${sequence}') AS id FROM generate_series(1, $1)`, [count])).map((row) => row.id);
}

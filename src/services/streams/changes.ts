import { ChangeLog } from "../../lib/change-log.ts";
import { RecentRows } from "../../lib/recent-rows.ts";
import type { Streams } from "../../storage/stream-ids.ts";

/*
 * Readers of the streams, for /sync and sliding sync. All are set-based, take (`since`, `upTo`] positions of the tokens, and ask the logs
 * below before they ask the database:
 *   account data    accountDataSince, roomAccountDataSince, tagsSince, tagEvent        services/account-data/streams.ts
 *   push rules      pushRulesSince                                                     services/push/streams.ts
 *   receipts        receiptsSince, receiptsOfTimelines                                 services/receipts/streams.ts
 *   typing          ctx.typing.changedRooms                                            services/typing/typing.ts
 *   presence        presenceSince, presenceEvent; ctx.presence.beginSync               services/presence/
 *   to-device       toDeviceSince, acknowledgeToDevice                                 services/devices/to-device.ts
 *   device lists    deviceListChanges, deviceListChangesBetween                        services/devices/lists.ts
 *   key counts      ctx.keyCounts.of                                                   services/devices/key-counts.ts
 *   threads         threadSubscriptionChanges                                          services/push/thread-subscriptions.ts
 */

/**
 * Which user or room changed last at which position of the per-user and ephemeral streams, from memory: spares the queries of those for
 * whom nothing changed. Writers record in `txn.afterCommit`; readers ask `hasChanged(key, since)` first.
 */
export interface StreamChanges {
  /** By room id: events that are neither outliers nor backfilled. */
  readonly events: ChangeLog;
  /** By room id: changes of the current state, at the position of `current_state_delta_stream`. */
  readonly currentState: ChangeLog;
  /** By room id: gaps in timelines. */
  readonly timelineGaps: ChangeLog;
  /** By room id: the last events, without outliers and rejected ones. */
  readonly recentEvents: RecentRows<RecentEvent>;
  /** By user id: account data, room account data and tags. */
  readonly accountData: ChangeLog;
  /** By user id. */
  readonly pushRules: ChangeLog;
  /** By room id. */
  readonly receipts: ChangeLog;
  /** By user id. */
  readonly presence: ChangeLog;
  /** By user id of local receivers, by server name of remote ones. */
  readonly toDevice: ChangeLog;
  /** By user id. */
  readonly deviceLists: ChangeLog;
  /** By the id of the user who signed. */
  readonly userSignatures: ChangeLog;
  /** By user id. */
  readonly threadSubscriptions: ChangeLog;
}

/** Where an event stands in the stream (`position`) and in its room's graph. */
export interface RecentEvent {
  readonly position: number;
  readonly eventId: string;
  readonly depth: number | bigint;
}

/** Empty logs that know everything from the streams' present positions on. */
export function openStreamChanges(streams: Streams): StreamChanges {
  return {
    events: new ChangeLog(streams.events.currentToken()),
    currentState: new ChangeLog(streams.events.currentToken()),
    timelineGaps: new ChangeLog(streams.events.currentToken()),
    recentEvents: new RecentRows(streams.events.currentToken()),
    accountData: new ChangeLog(streams.accountData.currentToken()),
    pushRules: new ChangeLog(streams.pushRules.currentToken()),
    receipts: new ChangeLog(streams.receipts.currentToken()),
    presence: new ChangeLog(streams.presence.currentToken()),
    toDevice: new ChangeLog(streams.toDevice.currentToken()),
    deviceLists: new ChangeLog(streams.deviceLists.currentToken()),
    userSignatures: new ChangeLog(streams.deviceLists.currentToken()),
    threadSubscriptions: new ChangeLog(streams.threadSubscriptions.currentToken()),
  };
}

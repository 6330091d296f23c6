import { type Database, query, type Txn } from "./database.ts";

/**
 * Stream ids: the positions from which sync tokens are made. Each stream is a Postgres sequence, one or more tables, and a row
 * for each writer in `stream_positions` (`tables.md`, section 4).
 *
 * The rule that keeps clients from missing rows: an id becomes visible (`currentToken`) only when every id below it has been
 * committed or given up. Ids are taken inside the writing transaction; from that moment until its end they are in flight.
 */
export interface StreamDefinition {
  /** `stream_positions.stream_name`; null for streams without a row there. */
  readonly name: string;
  readonly sequence: string;
  readonly storesPosition: boolean;
  /** Rows hold the negated id (backfilled events). */
  readonly negative?: boolean;
}

export const STREAMS = {
  events: { name: "events", sequence: "events_stream_seq", storesPosition: true },
  backfill: { name: "backfill", sequence: "events_backfill_stream_seq", storesPosition: true, negative: true },
  presence: { name: "presence_stream", sequence: "presence_stream_sequence", storesPosition: true },
  receipts: { name: "receipts", sequence: "receipts_sequence", storesPosition: true },
  accountData: { name: "account_data", sequence: "account_data_sequence", storesPosition: true },
  pushRules: { name: "push_rules_stream", sequence: "push_rules_stream_sequence", storesPosition: true },
  pushers: { name: "pushers", sequence: "pushers_sequence", storesPosition: true },
  toDevice: { name: "to_device", sequence: "device_inbox_sequence", storesPosition: true },
  deviceLists: { name: "device_lists_stream", sequence: "device_lists_sequence", storesPosition: true },
  threadSubscriptions: { name: "thread_subscriptions", sequence: "thread_subscriptions_sequence", storesPosition: true },
  stickyEvents: { name: "sticky_events", sequence: "sticky_events_sequence", storesPosition: true },
  profileUpdates: { name: "profile_updates", sequence: "profile_updates_sequence", storesPosition: true },
  quarantinedMedia: { name: "quarantined_media", sequence: "quarantined_media_id_seq", storesPosition: true },
  unPartialStatedRooms: { name: "un_partial_stated_room_stream", sequence: "un_partial_stated_room_stream_sequence", storesPosition: true },
  unPartialStatedEvents: { name: "un_partial_stated_event_stream", sequence: "un_partial_stated_event_stream_sequence", storesPosition: true },
  crossSigningKeys: { name: "e2e_cross_signing_keys", sequence: "e2e_cross_signing_keys_sequence", storesPosition: false },
  caches: { name: "caches", sequence: "cache_invalidation_stream_seq", storesPosition: false },
} as const satisfies Record<string, StreamDefinition>;

export type StreamName = keyof typeof STREAMS;

/** An allocation in flight: ids not known yet (`ids` undefined) are all greater than `floor`. */
interface Allocation {
  readonly floor: number;
  lowest: number | undefined;
}

export class StreamIds {
  private readonly inFlight = new Set<Allocation>();
  private readonly listeners = new Set<(token: number) => void>();
  private waiting: { readonly position: number; readonly fn: () => void }[] = [];
  private highest = 0;
  private announced = 0;
  private saved: number | undefined;

  constructor(
    readonly definition: StreamDefinition,
    /** The writer's name in `stream_positions` and `instance_name` columns: `master` for the main process. */
    readonly instanceName: string,
  ) {}

  /** Takes the sequence's last value as the position, as Synapse does at start. */
  async load(db: Pick<Database, "read">): Promise<void> {
    const [row] = await query<{ position: number }>(
      db.read,
      `SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END AS position FROM ${this.definition.sequence}`,
    );
    this.highest = this.announced = row!.position;
  }

  /** Takes `count` ids (one packet, ascending) that stay in flight until `txn` ends. */
  async next(txn: Txn, count = 1): Promise<number[]> {
    const allocation: Allocation = { floor: this.highest, lowest: undefined };
    this.inFlight.add(allocation);
    const finish = (): void => {
      this.inFlight.delete(allocation);
      this.announce();
    };
    txn.afterEnd(finish);
    const rows = await query<{ id: number }>(txn, `SELECT nextval('${this.definition.sequence}') AS id FROM generate_series(1, $1)`, [count]);
    const ids = rows.map((row) => row.id);
    allocation.lowest = ids[0];
    this.highest = Math.max(this.highest, ids[ids.length - 1]!);
    return ids;
  }

  /** Everything at or below this position is committed and visible. */
  currentToken(): number {
    let token = this.highest;
    for (const { floor, lowest } of this.inFlight) token = Math.min(token, lowest === undefined ? floor : lowest - 1);
    return token;
  }

  /** Calls `fn` with the new position each time it moves; returns the function that stops it. */
  onAdvance(fn: (token: number) => void): () => void {
    this.listeners.add(fn);
    return () => this.listeners.delete(fn);
  }

  /**
   * Calls `fn` once everything up to `position` is visible: at once, or when the slower writers beside it have ended. Who is woken for a row
   * before it is visible looks in vain and sleeps on.
   */
  whenVisible(position: number, fn: () => void): void {
    if (position <= this.currentToken()) fn();
    else this.waiting.push({ position, fn });
  }

  /** The position to store in `stream_positions` if it moved since the last call; else undefined. */
  takeUnsaved(): number | undefined {
    const token = this.currentToken();
    if (token === this.saved) return undefined;
    this.saved = token;
    return token;
  }

  /** The store failed: the next `takeUnsaved` gives the position again. */
  forgetSaved(): void {
    this.saved = undefined;
  }

  /** Another process of this server moved the stream to `token` (bus between workers). */
  advanceTo(token: number): void {
    if (token <= this.highest) return;
    this.highest = token;
    this.announce();
  }

  private announce(): void {
    const token = this.currentToken();
    if (token <= this.announced) return;
    this.announced = token;
    for (const listener of this.listeners) listener(token);
    if (this.waiting.length === 0) return;
    const due = this.waiting.filter(({ position }) => position <= token);
    this.waiting = this.waiting.filter(({ position }) => position > token);
    for (const { fn } of due) fn();
  }
}

export type Streams = { readonly [K in StreamName]: StreamIds };

/** All streams, positions loaded. `instanceName` is this process's name as a writer. */
export async function openStreams(db: Pick<Database, "read">, instanceName: string): Promise<Streams> {
  const entries = Object.entries(STREAMS).map(([key, definition]) => [key, new StreamIds(definition, instanceName)] as const);
  await Promise.all(entries.map(([, stream]) => stream.load(db)));
  return Object.fromEntries(entries) as unknown as Streams;
}

/**
 * Writes the positions that moved since the last call to `stream_positions`; called by a timer and at the end of a clean stop.
 * The row for `backfill` is negative, as Synapse stores it. Touches the database only when something moved.
 */
export async function saveStreamPositions(db: Pick<Database, "transaction">, streams: Streams): Promise<void> {
  const moved = Object.values(streams).flatMap((stream) => {
    const token = stream.definition.storesPosition ? stream.takeUnsaved() : undefined;
    return token === undefined ? [] : [{ stream, position: stream.definition.negative ? -token : token }];
  });
  if (moved.length === 0) return;
  try {
    await db.transaction("save_stream_positions", (txn) =>
      query(
        txn,
        `INSERT INTO stream_positions AS stored (stream_name, instance_name, stream_id)
         SELECT moved.stream_name, $3, moved.stream_id FROM unnest($1::text[], $2::bigint[]) AS moved (stream_name, stream_id)
         ON CONFLICT (stream_name, instance_name) DO UPDATE SET stream_id = EXCLUDED.stream_id
         WHERE stored.stream_name = 'backfill' OR stored.stream_id < EXCLUDED.stream_id`,
        [moved.map(({ stream }) => stream.definition.name), moved.map(({ position }) => position), streams.events.instanceName],
      ),
    );
  } catch (error) {
    for (const { stream } of moved) stream.forgetSaved();
    throw error;
  }
}

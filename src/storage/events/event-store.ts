import type { LRUCache } from "lru-cache";
import { type CacheSize, defaultSize } from "../../lib/cache-size.ts";
import { lruCache } from "../../lib/lru-cache.ts";
import type { Logger } from "../../lib/log.ts";
import type { CacheReading } from "../../lib/metrics.ts";
import { isJsonObject } from "../../lib/json.ts";
import { JsonError, parseJson } from "../../lib/lossless-json.ts";
import { type InternalMetadata, MatrixEvent } from "../../protocol/event/event.ts";
import { redactEvent } from "../../protocol/event/redact.ts";
import { getDomain } from "../../protocol/ids.ts";
import { roomVersion, type RoomVersion } from "../../protocol/room-versions.ts";
import type { ReadHandle } from "../database.ts";
import { readEventRows, type StoredEventRow } from "./rows.ts";

export interface GetEventsOptions {
  /** Also events that the auth rules rejected. */
  readonly rejected?: boolean;
  /** As stored, redactions not applied (unless the stored text was censored already). */
  readonly raw?: boolean;
}

interface Entry {
  readonly raw: MatrixEvent;
  /** `raw`, or its pruned form when a redaction applies. */
  readonly shown: MatrixEvent;
}

const CHUNK = 1_000;

/**
 * Reads events by id, through a cache that all share: one object an event, so what is derived from an event (its text for clients) can
 * hang on it. Ids asked for in the same turn of the event loop are read by one query.
 */
export class EventStore {
  private readonly entries: LRUCache<string, Entry>;
  private readonly loading = new Map<string, Promise<Entry | undefined>>();
  private hits = 0;
  private evicted = 0;
  private misses = 0;
  private batch: { ids: string[]; rows: Promise<Map<string, Entry>> } | undefined;

  constructor(
    private readonly read: ReadHandle,
    private readonly log: Logger,
    /** Events kept (Synapse's `event_cache_size`). */
    cacheSize = 10_000,
    sizeOf: CacheSize = defaultSize,
  ) {
    this.entries = lruCache(sizeOf("*getEvent*", cacheSize), { dispose: (_value, _key, reason) => void (reason === "evict" && this.evicted++) });
  }

  /** The events of these ids that exist, in the order asked for. Without options: redactions applied, rejected events left out. */
  async get(eventIds: Iterable<string>, options: GetEventsOptions = {}): Promise<Map<string, MatrixEvent>> {
    const ids = [...new Set(eventIds)];
    const settled: (Entry | undefined)[] = [];
    const waiting: Promise<void>[] = [];
    ids.forEach((id, index) => {
      settled[index] = this.entries.get(id);
      if (settled[index] === undefined) waiting.push(this.load(id).then((entry) => void (settled[index] = entry)));
    });
    this.hits += ids.length - waiting.length;
    this.misses += waiting.length;
    if (waiting.length > 0) await Promise.all(waiting);
    const events = new Map<string, MatrixEvent>();
    for (let i = 0; i < ids.length; i++) {
      const entry = settled[i];
      if (entry === undefined || (entry.raw.rejectedReason !== undefined && !options.rejected)) continue;
      events.set(ids[i]!, options.raw ? entry.raw : entry.shown);
    }
    return events;
  }

  /** One event, with the same rules. */
  async one(eventId: string, options: GetEventsOptions = {}): Promise<MatrixEvent | undefined> {
    return (await this.get([eventId], options)).get(eventId);
  }

  /** The event when it is in the cache and neither rejected nor redacted: for callers that must not wait. */
  peek(eventId: string): MatrixEvent | undefined {
    const entry = this.entries.get(eventId);
    return entry === undefined || entry.raw.rejectedReason !== undefined ? undefined : entry.raw;
  }

  /** Readings of the cache under Synapse's name, for the metrics. */
  get caches(): Readonly<Record<string, () => CacheReading>> {
    return {
      "*getEvent*": () => ({ size: this.entries.size, maxSize: this.entries.maxSize, hits: this.hits, misses: this.misses, evictedBySize: this.evicted }),
    };
  }

  // ------------------------------------------------------------------------------------------------ kept in step by the persister

  /** An event was stored, and no redaction of it is known. */
  remember(event: MatrixEvent): void {
    this.loading.delete(event.eventId);
    this.entries.set(event.eventId, { raw: event, shown: event });
  }

  /** The stored event, or what redacts it, changed. */
  forget(eventId: string): void {
    this.loading.delete(eventId);
    this.entries.delete(eventId);
  }

  /** Many events of a room changed (purge, redaction by ban). */
  forgetRoom(roomId: string): void {
    for (const [id, entry] of this.entries.entries()) if (entry.raw.roomId === roomId) this.forget(id);
  }

  clear(): void {
    this.loading.clear();
    this.entries.clear();
  }

  private load(id: string): Promise<Entry | undefined> {
    const under = this.loading.get(id);
    if (under !== undefined) return under;
    if (this.batch === undefined || this.batch.ids.length >= CHUNK) {
      const ids: string[] = [];
      const batch = {
        ids,
        rows: Promise.resolve().then(async () => {
          if (this.batch === batch) this.batch = undefined;
          return await this.readEntries(ids);
        }),
      };
      this.batch = batch;
    }
    this.batch.ids.push(id);
    const promise: Promise<Entry | undefined> = this.batch.rows.then((rows) => {
      const entry = rows.get(id);
      if (this.loading.get(id) === promise) {
        this.loading.delete(id);
        if (entry !== undefined) this.entries.set(id, entry);
      }
      return entry;
    });
    promise.catch(() => {
      if (this.loading.get(id) === promise) this.loading.delete(id);
    });
    this.loading.set(id, promise);
    return promise;
  }

  private async readEntries(ids: readonly string[]): Promise<Map<string, Entry>> {
    const stored = new Map<string, Stored>();
    // Also what redacts them, and what redacts that: two redactions may even name each other.
    for (let wanted = new Set(ids); wanted.size > 0;) {
      const next = new Set<string>();
      for (const row of await readEventRows(this.read, [...wanted])) {
        const raw = this.parse(row);
        if (raw === undefined) continue;
        stored.set(row.event_id, { raw, row });
        for (const id of redactionsOf(row)) next.add(id);
      }
      for (const id of stored.keys()) next.delete(id);
      for (const id of wanted) next.delete(id);
      wanted = next;
    }
    const entries = new Map<string, Entry>();
    for (const id of ids) {
      const event = stored.get(id);
      if (event !== undefined) entries.set(id, { raw: event.raw, shown: shown(event, stored, 2) });
    }
    return entries;
  }

  private parse(row: StoredEventRow): MatrixEvent | undefined {
    try {
      const json = parseJson(row.json);
      const internal = parseJson(row.internal_metadata);
      const version = versionOf(row);
      if (!isJsonObject(json) || version === undefined) throw new JsonError("no event of a known room version");
      if (version.eventFormat !== (row.format_version ?? 1)) throw new JsonError(`format ${row.format_version} in a room of version ${version.id}`);
      const event = new MatrixEvent(json, version, row.event_id, isJsonObject(internal) ? (internal as InternalMetadata) : {});
      event.streamOrdering = row.stream_ordering ?? undefined;
      event.outlier = row.outlier;
      event.rejectedReason = row.rejected ?? undefined;
      return event;
    } catch (error) {
      if (!(error instanceof JsonError)) throw error;
      this.log.error(`Stored event ${row.event_id} cannot be read`, { error });
      return undefined;
    }
  }
}

/** Invites stored before rooms had a version on record are from rooms of version 5 or earlier. */
function versionOf(row: StoredEventRow): RoomVersion | undefined {
  if (row.room_version !== null) return roomVersion(row.room_version);
  return roomVersion(row.format_version === null || row.format_version === 1 ? "1" : row.format_version === 2 ? "3" : "5");
}

/** Redactions that apply unless a check fails, those whose right is known first. */
function redactionsOf(row: StoredEventRow): string[] {
  const listed = [...(row.redactions ?? [])].sort(([, a], [, b]) => Number(a) - Number(b)).map(([id]) => id);
  const bans = (row.ban_redactions ?? []).filter(([, end]) => end === null || (row.stream_ordering ?? 0) < end).map(([id]) => id);
  return [...listed, ...bans];
}

interface Stored {
  readonly raw: MatrixEvent;
  readonly row: StoredEventRow;
}

/** The event with redactions applied; what redacts it likewise, down to `depth`. */
function shown(event: Stored, stored: ReadonlyMap<string, Stored>, depth: number): MatrixEvent {
  const because = depth === 0 ? undefined : redactingEvent(event, stored);
  return because === undefined ? event.raw : redactEvent(event.raw, shown(because, stored, depth - 1));
}

/** As Synapse does at read time; creation events are never redacted. */
function redactingEvent({ raw, row }: Stored, stored: ReadonlyMap<string, Stored>): Stored | undefined {
  if (raw.type === "m.room.create") return undefined;
  const confirmed = new Set((row.redactions ?? []).filter(([, recheck]) => !recheck).map(([id]) => id));
  for (const id of redactionsOf(row)) {
    const redaction = stored.get(id);
    if (redaction === undefined || redaction.raw.rejectedReason !== undefined) continue;
    if (confirmed.has(id)) return redaction;
    if (redaction.raw.roomId !== raw.roomId) continue;
    // Room version 3 on: a redaction by somebody without the power for it is good when it comes from the sender's own server.
    if (redaction.raw.internal.recheck_redaction === true && getDomain(redaction.raw.sender) !== getDomain(raw.sender)) continue;
    return redaction;
  }
  return undefined;
}

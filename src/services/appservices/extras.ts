import type { AppserviceRegistration } from "../../config/appservice-file.ts";
import { type JsonObject, JsonText } from "../../lib/json.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { type Positions, putAppservicePositions } from "../../storage/appservices/state.ts";
import { inboxMessagesOfUsers, usersWithMessages } from "../../storage/devices/inbox.ts";
import { keyCountsOfUsers } from "../../storage/devices/keys.ts";
import { allUsersWithChangedDevices } from "../../storage/devices/lists.ts";
import { receiptsBetween } from "../../storage/receipts/receipts.ts";
import type { Context } from "../context.ts";
import { presenceEvent } from "../presence/streams.ts";
import { receiptContents } from "../receipts/streams.ts";
import type { AppserviceInterest } from "./interest.ts";

export type ExtrasContext = Pick<Context, "changes" | "clock" | "config" | "members" | "presence" | "read" | "streams" | "transaction" | "typing">;

/** At most so many of each kind in one transaction (as Synapse). */
const LIMIT = 100;
/** How often the positions are written down. */
const SAVE_INTERVAL_MS = 1_000;

/** What a transaction holds beside events. */
export class Extras {
  constructor(
    /** Typing, receipts, presence (MSC2409). */
    readonly ephemeral: readonly object[],
    /** To-device messages with `to_user_id` and `to_device_id`. */
    readonly toDevice: readonly JsonText[],
    readonly toDeviceUsers: readonly string[],
    /** Users whose devices changed (MSC3202). */
    readonly changedDevices: readonly string[],
    /** There is more than one transaction holds. */
    readonly hasMore: boolean,
  ) {}

  get isEmpty(): boolean {
    return this.ephemeral.length === 0 && this.toDevice.length === 0 && this.changedDevices.length === 0;
  }

  /** What is still worth telling when the transaction is sent again. */
  lasting(): Extras {
    return new Extras([], this.toDevice, this.toDeviceUsers, this.changedDevices, this.hasMore);
  }
}

type Stream = keyof Positions;

/**
 * What one application service hears of beside events: typing, receipts, presence, to-device messages, device lists, as far as its registration
 * asks for them. It remembers how far the service was told. Receipts and presence that the service was not there for are passed over, to-device
 * messages and device lists wait for it.
 */
export class ExtrasSource {
  private readonly streams: readonly Stream[];
  private readonly told: Record<Stream, number>;
  private readonly pending: Partial<Record<Stream, number>> = {};
  private typingSerial: number;
  private readonly saved: Partial<Record<Stream, number>> = {};
  private lastSave = 0;

  /** undefined for services that hear of events alone. `before`: how far the service was told; what it has never heard of begins now. */
  static of(ctx: ExtrasContext, service: AppserviceRegistration, interest: AppserviceInterest, before: Positions | undefined): ExtrasSource | undefined {
    const isEphemeral = service.receiveEphemeral || service.receiveEphemeralUnstable;
    const { msc2409ToDeviceMessagesEnabled, msc3202TransactionExtensions } = ctx.config.experimental;
    const hasKeys = service.msc3202 && msc3202TransactionExtensions;
    if (!isEphemeral && !hasKeys) return undefined;
    const streams: Stream[] = [
      ...(isEphemeral ? (["receipts", "presence"] as const) : []),
      ...(isEphemeral && msc2409ToDeviceMessagesEnabled ? (["toDevice"] as const) : []),
      ...(hasKeys ? (["deviceLists"] as const) : []),
    ];
    return new ExtrasSource(ctx, service, interest, streams, isEphemeral, hasKeys, before);
  }

  private constructor(
    private readonly ctx: ExtrasContext,
    private readonly service: AppserviceRegistration,
    private readonly interest: AppserviceInterest,
    streams: readonly Stream[],
    private readonly isEphemeral: boolean,
    private readonly hasKeys: boolean,
    before: Positions | undefined,
  ) {
    this.streams = streams;
    this.typingSerial = ctx.typing.serial;
    const now = (stream: Stream): number => ctx.streams[stream].currentToken();
    this.told = { receipts: 0, presence: 0, toDevice: 0, deviceLists: 0 };
    for (const stream of streams) {
      const stored = before?.[stream];
      if (stored !== undefined) this.saved[stream] = stored;
      this.told[stream] = Math.min(stored ?? Infinity, now(stream));
    }
  }

  /** Something moved since the last look. Asks the database nothing. */
  hasNews(): boolean {
    return (
      (this.isEphemeral && this.typingSerial < this.ctx.typing.serial) ||
      this.streams.some((stream) => this.told[stream] < this.ctx.streams[stream].currentToken())
    );
  }

  /** Passes over what is only worth telling at once. */
  skip(): void {
    this.typingSerial = this.ctx.typing.serial;
    for (const stream of ["receipts", "presence"] as const) if (this.streams.includes(stream)) this.told[stream] = this.ctx.streams[stream].currentToken();
  }

  /** What is new; `arrived` or `giveBack` follows. */
  async take(): Promise<Extras> {
    const ephemeral: object[] = [];
    let hasMore = false;
    const wants = async (roomId: string): Promise<boolean> => (await this.interest.inRoom(roomId)).has(this.service.id);
    if (this.isEphemeral) {
      const since = this.typingSerial;
      this.typingSerial = this.ctx.typing.serial;
      if (since < this.typingSerial) {
        for (const [roomId, userIds] of this.ctx.typing.allChanged(since)) {
          if (await wants(roomId)) ephemeral.push({ type: "m.typing", room_id: roomId, content: { user_ids: userIds } });
        }
      }
      for (const part of [await this.receipts(wants), await this.presence()]) {
        ephemeral.push(...part.events);
        hasMore ||= part.hasMore;
      }
    }
    const messages = await this.toDevice();
    const changedDevices = await this.deviceLists();
    return new Extras(ephemeral, messages.texts, messages.users, changedDevices, hasMore || messages.hasMore);
  }

  /** The service has what was taken. */
  arrived(): void {
    for (const stream of this.streams) {
      const position = this.pending[stream];
      if (position !== undefined) this.told[stream] = position;
      delete this.pending[stream];
    }
  }

  /** The service did not get what was taken: it comes again as far as it waits. */
  giveBack(): void {
    for (const stream of this.streams) delete this.pending[stream];
  }

  /** Writes the positions down if they moved, at most once a second unless `now`. */
  async save(now: boolean): Promise<void> {
    if (!now && this.ctx.clock.now() - this.lastSave < SAVE_INTERVAL_MS) return;
    const moved = this.streams.filter((stream) => this.saved[stream] !== this.told[stream]);
    if (moved.length === 0) return;
    const positions = Object.fromEntries(moved.map((stream) => [stream, this.told[stream]]));
    await this.ctx.transaction("set_appservice_stream_type_pos", (txn) => putAppservicePositions(txn, this.service.id, { ...NO_POSITIONS, ...positions }), {
      isolation: "read committed",
    });
    Object.assign(this.saved, positions);
    this.lastSave = this.ctx.clock.now();
  }

  /** One-time key counts and unused fallback keys of the service's users whom the transaction concerns (MSC3202). */
  async keyCounts(events: readonly MatrixEvent[], extras: Extras | undefined): Promise<JsonObject> {
    if (!this.hasKeys) return {};
    const { id, sender } = this.service;
    const users = new Set([sender, ...(extras?.toDeviceUsers ?? [])]);
    const rooms = new Set(events.map((event) => event.roomId));
    for (const event of extras?.ephemeral ?? []) if ("room_id" in event) rooms.add(event.room_id as string);
    for (const roomId of rooms) for (const userId of await this.ctx.members.joinedLocal(roomId)) if (this.interest.inUser(userId).has(id)) users.add(userId);
    const counts: Record<string, JsonObject> = {};
    const fallbacks: Record<string, JsonObject> = {};
    for (const [userId, devices] of await keyCountsOfUsers(this.ctx.read, [...users])) {
      counts[userId] = Object.fromEntries([...devices].map(([deviceId, of]) => [deviceId, of.oneTimeKeys]));
      fallbacks[userId] = Object.fromEntries([...devices].map(([deviceId, of]) => [deviceId, of.unusedFallbackTypes]));
    }
    if (Object.keys(counts).length === 0) return {};
    return {
      "org.matrix.msc3202.device_one_time_key_counts": counts,
      "org.matrix.msc3202.device_one_time_keys_count": counts,
      "org.matrix.msc3202.device_unused_fallback_key_types": fallbacks,
    };
  }

  /** Where the stream stands, and where it stood at the last look; undefined when nothing moved. */
  private window(stream: Stream): { after: number; upTo: number } | undefined {
    const [after, upTo] = [this.told[stream], this.ctx.streams[stream].currentToken()];
    if (!this.streams.includes(stream) || after >= upTo) return undefined;
    return { after, upTo };
  }

  private async receipts(wants: (roomId: string) => Promise<boolean>): Promise<{ events: object[]; hasMore: boolean }> {
    const window = this.window("receipts");
    if (window === undefined) return { events: [], hasMore: false };
    const { after, upTo } = window;
    this.told.receipts = upTo;
    const changed = this.ctx.changes.receipts.changed(after, upTo);
    let isWanted = changed === undefined;
    for (const roomId of changed ?? []) isWanted ||= await wants(roomId);
    if (!isWanted) return { events: [], hasMore: false };
    const rows = await receiptsBetween(this.ctx.read, after, upTo, LIMIT);
    if (rows.length === LIMIT) this.told.receipts = rows.at(-1)!.streamId;
    const events: object[] = [];
    const own: typeof rows = [];
    for (const row of rows) {
      // Private receipts are for those who sent them.
      if (row.receiptType === "m.read.private" && !this.interest.inUser(row.userId).has(this.service.id)) continue;
      if (await wants(row.roomId)) own.push(row);
    }
    for (const [roomId, content] of receiptContents(own, undefined)) events.push({ type: "m.receipt", room_id: roomId, content });
    return { events, hasMore: rows.length === LIMIT };
  }

  private async presence(): Promise<{ events: object[]; hasMore: boolean }> {
    const window = this.window("presence");
    if (window === undefined) return { events: [], hasMore: false };
    this.told.presence = window.upTo;
    // What lies before the window of the log was missed: it is out of date.
    const changed = this.ctx.changes.presence.changed(window.after, window.upTo) ?? new Set<string>();
    const users = changed.size === 0 ? [] : await this.interest.usersFor(this.service.id, changed);
    if (users.length === 0) return { events: [], hasMore: false };
    const now = this.ctx.clock.now();
    return { events: [...(await this.ctx.presence.get(users)).values()].map((state) => presenceEvent(state, now)), hasMore: false };
  }

  private async toDevice(): Promise<{ texts: JsonText[]; users: string[]; hasMore: boolean }> {
    const none = { texts: [], users: [], hasMore: false };
    const window = this.window("toDevice");
    if (window === undefined) return none;
    const { after, upTo } = window;
    const receivers = this.ctx.changes.toDevice.changed(after, upTo) ?? (await usersWithMessages(this.ctx.read, after, upTo));
    const users = [...receivers].filter((userId) => this.interest.inUser(userId).has(this.service.id));
    const rows = users.length === 0 ? [] : await inboxMessagesOfUsers(this.ctx.read, users, after, upTo, LIMIT);
    if (rows.length === 0) {
      this.told.toDevice = upTo;
      return none;
    }
    const hasMore = rows.length >= LIMIT;
    this.pending.toDevice = hasMore ? rows.at(-1)!.streamId : upTo;
    return { texts: rows.map(addressed), users: [...new Set(rows.map(({ userId }) => userId))], hasMore };
  }

  private async deviceLists(): Promise<string[]> {
    const window = this.window("deviceLists");
    if (window === undefined) return [];
    const { after, upTo } = window;
    const changed = this.ctx.changes.deviceLists.changed(after, upTo) ?? (await allUsersWithChangedDevices(this.ctx.read, after, upTo));
    const users = await this.interest.usersFor(this.service.id, changed);
    if (users.length === 0) this.told.deviceLists = upTo;
    else this.pending.deviceLists = upTo;
    return users;
  }
}

const NO_POSITIONS: Positions = { receipts: undefined, presence: undefined, toDevice: undefined, deviceLists: undefined };

/** A message with whom it is for. */
function addressed({ userId, deviceId, message }: { userId: string; deviceId: string; message: JsonText }): JsonText {
  const rest = message.text.trimStart().slice(1);
  return new JsonText(`{"to_user_id":${JSON.stringify(userId)},"to_device_id":${JSON.stringify(deviceId)}${/^\s*\}/.test(rest) ? "" : ","}${rest}`);
}

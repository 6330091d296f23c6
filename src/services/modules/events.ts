import type { JsonObject } from "../../lib/json.ts";
import type { InternalMetadata, MatrixEvent, StateKey } from "../../protocol/event/event.ts";
import { cloneJson } from "./clone-json.ts";
import { splitStateKey, stateKeyOf } from "../../protocol/event/event.ts";

/** An event as modules see it, under the names that Synapse's modules know. What it returns belongs to the server: copy before changing. */
export class ModuleEvent {
  constructor(private readonly event: MatrixEvent) {}

  get event_id(): string {
    return this.event.eventId;
  }
  get room_id(): string {
    return this.event.roomId;
  }
  get type(): string {
    return this.event.type;
  }
  get sender(): string {
    return this.event.sender;
  }
  /** undefined for message events. */
  get state_key(): string | undefined {
    return this.event.stateKey;
  }
  get content(): Readonly<JsonObject> {
    return this.event.content;
  }
  /** Milliseconds since the epoch, as the sender says. */
  get origin_server_ts(): number {
    return this.event.originServerTs;
  }
  get depth(): number | bigint {
    return this.event.depth;
  }
  get redacts(): string | undefined {
    return this.event.redacts;
  }
  get unsigned(): Readonly<JsonObject> {
    return this.event.unsigned;
  }
  /** `membership` of the content of a member event, else undefined. */
  get membership(): string | undefined {
    return this.event.membership;
  }
  /** The room version's name, such as `"11"`. */
  get room_version(): string {
    return this.event.roomVersion.id;
  }
  get prev_event_ids(): readonly string[] {
    return this.event.prevEventIds;
  }
  get auth_event_ids(): readonly string[] {
    return this.event.authEventIds;
  }
  get internal_metadata(): Readonly<InternalMetadata> & { readonly outlier: boolean; readonly stream_ordering: number | undefined } {
    return { ...this.event.internal, outlier: this.event.outlier, stream_ordering: this.event.streamOrdering };
  }
  get rejected_reason(): string | undefined {
    return this.event.rejectedReason;
  }

  is_state(): boolean {
    return this.event.stateKey !== undefined;
  }

  /** A copy of the PDU, which the caller may change: for `check_event_allowed` to return. */
  get_dict(): JsonObject {
    return cloneJson(this.event.json);
  }
}

/** State of a room by type and state key. */
export class ModuleState {
  private readonly events: ReadonlyMap<StateKey, ModuleEvent>;

  constructor(state: Iterable<readonly [StateKey, MatrixEvent]>) {
    this.events = new Map([...state].map(([key, event]) => [key, new ModuleEvent(event)]));
  }

  get size(): number {
    return this.events.size;
  }

  get(type: string, stateKey = ""): ModuleEvent | undefined {
    return this.events.get(stateKeyOf(type, stateKey));
  }

  values(): IterableIterator<ModuleEvent> {
    return this.events.values();
  }

  *entries(): IterableIterator<[[type: string, stateKey: string], ModuleEvent]> {
    for (const [key, event] of this.events) yield [splitStateKey(key), event];
  }

  [Symbol.iterator](): IterableIterator<[[type: string, stateKey: string], ModuleEvent]> {
    return this.entries();
  }
}

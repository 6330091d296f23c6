import { authTypesForEvent } from "../../src/protocol/event-auth/auth-types.ts";
import { checkStateDependentAuth } from "../../src/protocol/event-auth/check.ts";
import { pduFields } from "../../src/protocol/event/build.ts";
import { stateKeyOf, type MatrixEvent, type StateKey } from "../../src/protocol/event/event.ts";
import { makeEventFromJson } from "../../src/protocol/event/format.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { POWER_LEVELS_KEY } from "../../src/protocol/power-levels.ts";
import type { RoomVersion } from "../../src/protocol/room-versions.ts";

export type RoomState = ReadonlyMap<StateKey, MatrixEvent>;
const CREATOR = "@c:a";
const USERS = [CREATOR, "@alice:a", "@bob:b", "@carol:c", "@dave:d"];

/** A room whose users do at random what they may, on forks that know nothing of each other. The seed decides all. */
export class RandomRoom {
  readonly events = new Map<string, MatrixEvent>();
  /** The state that all forks grow from. */
  readonly start: RoomState;
  private roomId: string | undefined;
  private time = 1000;
  private count = 0;
  private depth = 1;

  constructor(
    readonly version: RoomVersion,
    private seed: number,
  ) {
    if (!version.roomIdIsCreateHash) this.roomId = "!r:a";
    const state = new Map<StateKey, MatrixEvent>();
    this.roomId = this.send(state, CREATOR, "m.room.create", "", { creator: CREATOR }, true)!.roomId;
    this.send(state, CREATOR, "m.room.member", CREATOR, { membership: "join" }, true);
    if (this.below(8) !== 0)
      this.send(
        state,
        CREATOR,
        "m.room.power_levels",
        "",
        { users: { ...(!version.creatorsHavePower && { [CREATOR]: 100 }), ...(this.below(2) === 0 && { "@alice:a": 50 }) } },
        true,
      );
    this.send(state, CREATOR, "m.room.join_rules", "", { join_rule: this.pick(["public", "public", "invite"]) }, true);
    this.start = this.grow(state, 3 + this.below(8));
  }

  /** A whole number in [0, `bound`). */
  below(bound: number): number {
    this.seed = (Math.imul(this.seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.seed / 2 ** 32) * bound);
  }

  /** A state after so many attempts to do something in another. */
  grow(from: RoomState, steps: number): RoomState {
    const state = new Map(from);
    for (let step = 0; step < steps; step++) this.act(state);
    return state;
  }

  private act(state: Map<StateKey, MatrixEvent>): void {
    const sender = this.pick(USERS);
    const target = this.pick(USERS);
    switch (this.below(6)) {
      case 0:
        return void this.send(state, target, "m.room.member", target, { membership: this.pick(["join", "join", "leave"]) });
      case 1:
      case 2:
        return void this.send(state, sender, "m.room.member", target, { membership: this.pick(["invite", "ban", "leave"]) });
      case 3: {
        const content = state.get(POWER_LEVELS_KEY)?.content ?? {};
        const users = { ...(content.users as JsonObject | undefined), [this.pick(USERS.slice(1))]: this.pick([0, 50, 100]) };
        return void this.send(state, sender, "m.room.power_levels", "", {
          ...content,
          users,
          ...(this.below(3) === 0 && { state_default: this.pick([0, 50]) }),
        });
      }
      case 4:
        return void this.send(state, sender, "m.room.join_rules", "", { join_rule: this.pick(["public", "invite"]) });
      default:
        return void this.send(state, sender, this.pick(["m.room.topic", "x"]), this.pick(["", "a"]), { n: this.count });
    }
  }

  /** Puts the event into the state if it is allowed there; one in 25 is then called rejected. */
  private send(
    state: Map<StateKey, MatrixEvent>,
    sender: string,
    type: string,
    stateKey: string,
    content: JsonObject,
    always = false,
  ): MatrixEvent | undefined {
    const head = { type, sender, stateKey, content };
    const auth = new Map(authTypesForEvent(this.version, head).flatMap((key) => (state.has(key) ? [[key, state.get(key)!] as const] : [])));
    this.time += this.below(3) - (this.below(10) === 0 ? 5 : 0);
    const authEventIds = [...auth.values()].map((event) => event.eventId);
    const pdu = pduFields({
      ...head,
      roomVersion: this.version,
      roomId: this.roomId,
      originServerTs: this.time,
      depth: this.depth++,
      prevEventIds: [],
      authEventIds,
      eventId: `$${this.count++}:${this.pick(["a", "b"])}`,
    });
    const event = makeEventFromJson({ ...pdu, hashes: {}, signatures: {} }, this.version);
    if (!always && !checkStateDependentAuth(event, auth).allowed) return undefined;
    if (!always && this.below(25) === 0) event.rejectedReason = "auth_error";
    this.events.set(event.eventId, event);
    state.set(stateKeyOf(type, stateKey), event);
    return event;
  }

  private pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

import assert from "node:assert/strict";
import type { Clock } from "../../lib/clock.ts";
import { authTypesForEvent } from "../../protocol/event-auth/auth-types.ts";
import { type MatrixEvent, type StateKey, stateKeyOf } from "../../protocol/event/event.ts";
import { makeEventFromJson } from "../../protocol/event/format.ts";
import { roomVersion } from "../../protocol/room-versions.ts";
import { pduFields } from "../../protocol/event/build.ts";
import { AuthGraph } from "../../storage/events/auth-graph.ts";
import { stateFrom, StateSnapshot } from "../../storage/state/snapshot.ts";
import { resolveState, type ResolveContext } from "./resolve-state.ts";

const ROOM = "!r:hs";
const VERSION = roomVersion("11")!;
const CREATOR = "@creator:hs";

/** A room of which all events are known, without signatures. */
class Room {
  readonly events = new Map<string, MatrixEvent>();
  private time = 1;

  add(state: ReadonlyMap<StateKey, string>, sender: string, type: string, stateKey: string, content: Record<string, string>): MatrixEvent {
    const head = { type, sender, stateKey, content };
    const pdu = pduFields({
      ...head,
      roomVersion: VERSION,
      roomId: ROOM,
      originServerTs: this.time,
      depth: this.time++,
      prevEventIds: [],
      authEventIds: authTypesForEvent(VERSION, head).flatMap((key) => state.get(key) ?? []),
    });
    const event = makeEventFromJson({ ...pdu, hashes: {}, signatures: {} }, VERSION);
    this.events.set(event.eventId, event);
    return event;
  }

  /** The state after each branch: all of them set the topic, and let their own members in. */
  branches(count: number, members: number): StateSnapshot[] {
    let base = stateFrom([]);
    const put = (event: MatrixEvent): void => void (base = base.set(stateKeyOf(event.type, event.stateKey!), event.eventId));
    put(this.add(base, CREATOR, "m.room.create", "", { room_version: "11" }));
    put(this.add(base, CREATOR, "m.room.member", CREATOR, { membership: "join" }));
    put(this.add(base, CREATOR, "m.room.join_rules", "", { join_rule: "public" }));
    const start = StateSnapshot.full(ROOM, base);
    return Array.from({ length: count }, (_, branch) => {
      const topic = this.add(base, CREATOR, "m.room.topic", "", { topic: String(branch) });
      const joins = Array.from({ length: members }, (_, index) =>
        this.add(base, `@${branch}_${index}:hs`, "m.room.member", `@${branch}_${index}:hs`, { membership: "join" }),
      );
      return start.become(base.with([topic, ...joins].map((event) => [stateKeyOf(event.type, event.stateKey!), event.eventId] as const)));
    });
  }

  /** What a resolution needs; everything is known to it already, so it reads nothing. */
  get context(): ResolveContext {
    return { authGraph: new AuthGraph(undefined as never), events: undefined, roomVersions: undefined } as never;
  }
}

/** A clock on which time passes with every look at it. */
function slowClock(): { clock: Pick<Clock, "monotonic" | "sleep">; turns: () => number } {
  let [now, turns] = [0, 0];
  const sleep = async (): Promise<void> => {
    turns++;
    await new Promise(setImmediate);
  };
  return { clock: { monotonic: () => (now += 5), sleep }, turns: () => turns };
}

describe("resolving the state of a room", function () {
  this.timeout(60_000);

  it("takes what all branches add, and the topic that is newest", async () => {
    const room = new Room();
    const branches = room.branches(3, 2);
    const state = await resolveState(room.context, ROOM, branches, room.events);
    assert.equal(state.size, 3 + 1 + 6);
    assert.equal(state.get(stateKeyOf("m.room.topic", "")), branches[2]!.map.get(stateKeyOf("m.room.topic", "")));
    assert.equal(await resolveState(room.context, ROOM, [branches[0]!, branches[0]!], room.events), branches[0]!.map);
  });

  it("of 100 branches lets others have their turn, the more often the more there is to resolve", async () => {
    const turnsFor = async (members: number): Promise<number> => {
      const room = new Room();
      const branches = room.branches(100, members);
      const { clock, turns } = slowClock();
      let others = 0;
      let isDone = false;
      const other = (): void => {
        others++;
        if (!isDone) setImmediate(other);
      };
      setImmediate(other);
      const state = await resolveState(room.context, ROOM, branches, room.events, clock);
      isDone = true;
      assert.equal(state.size, 3 + 1 + 100 * members);
      assert.ok(others >= turns(), `${others} turns of others`);
      return turns();
    };
    const few = await turnsFor(2);
    const many = await turnsFor(40);
    assert.ok(few > 0 && many > few + 50, `${few} and ${many} turns`);
  });
});

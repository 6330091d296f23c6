import { C, type Json, U } from "../harness/client.ts";
import { searchWord } from "./prepared.ts";
import type { Scenario, Stage } from "./scenarios.ts";
import { timed, type Target } from "./targets.ts";

/** What is asked of servers that hold much already (`prepareDatabase`). */

const SLIDING = `${U}/org.matrix.simplified_msc3575/sync`;
const EVENTS = [
  ["m.room.create", ""],
  ["m.room.name", ""],
  ["m.room.topic", ""],
  ["m.room.avatar", ""],
  ["m.room.encryption", ""],
  ["m.room.canonical_alias", ""],
  ["m.room.power_levels", ""],
  ["m.room.member", "$LAZY"],
  ["m.room.member", "$ME"],
];
const EXTENSIONS = Object.fromEntries(["to_device", "e2ee", "account_data", "receipts", "typing"].map((name) => [name, { enabled: true }]));
const CONNECTIONS = 20;
/** As clients ask; where there is something new nobody waits. */
const WAIT_MS = 10_000;

/** All rooms at once take a busy server long. */
const PATIENCE_MS = 600_000;

/** Positions of the reader's connections on each target. */
const positions = new WeakMap<Target, string[]>();
let opened = 0;

/** One answer to the reader: his first `rooms` rooms, as Element X asks for them. */
function slide({ target }: Stage, connection: string, rooms: number, pos?: string, timeout = 0): Promise<Json> {
  const lists = { all: { ranges: [[0, rooms - 1]], timeline_limit: 1, required_state: EVENTS, filters: { not_room_types: ["m.space"] } } };
  return target.users[0]!.call("POST", SLIDING, {
    query: { pos, timeout },
    body: { conn_id: connection, lists, extensions: EXTENSIONS },
    timeoutMs: PATIENCE_MS,
  });
}

async function first(stage: Stage, rooms: number): Promise<void> {
  const answer = await slide(stage, `first${opened++}`, rooms);
  if (Object.keys(answer.rooms).length !== rooms) throw new Error(`${stage.target.label}: ${Object.keys(answer.rooms).length} rooms, not ${rooms}`);
}

const firstAnswer: Scenario = {
  name: "sliding sync, first answer",
  what: "the first 20 rooms for a user in 2,000",
  prepare: (stage) => first(stage, 20),
  async round(stage, _round, done) {
    for (let index = 0; index < 10; index++) await timed(done, () => first(stage, 20));
  },
};

const wholeList: Scenario = {
  name: "sliding sync, all rooms",
  what: "all 2,000 rooms of a user in one answer",
  async round(stage, _round, done) {
    await timed(done, () => first(stage, stage.scale.manyRooms));
  },
};

const nextAnswer: Scenario = {
  name: "sliding sync, next answer",
  what: "what is new after a message in one of 2,000 rooms",
  repeat: 3,
  async prepare(stage) {
    const own: string[] = [];
    for (let index = 0; index < CONNECTIONS; index++) own.push((await slide(stage, `next${index}`, 20)).pos);
    positions.set(stage.target, own);
  },
  async arrange({ target }, round) {
    const owner = target.users[1 + (round % (target.users.length - 1))]!;
    const { joined_rooms: rooms } = await owner.get(`${C}/joined_rooms`);
    // A transaction id of its own: those that the client counts were used when the database was made.
    await owner.send(rooms[(7 * round) % rooms.length], "m.room.message", { msgtype: "m.text", body: `next ${round}` }, `next${round}`);
  },
  async round(stage, round, done) {
    const own = positions.get(stage.target)!;
    for (const [index, pos] of own.entries()) {
      const answer = await timed(done, () => slide(stage, `next${index}`, 20, pos, WAIT_MS));
      const fresh = Object.keys(answer.rooms).length;
      if (fresh !== 1)
        throw new Error(`${stage.target.label}, round ${round}, ${index}: ${fresh} rooms are new, not one: ${JSON.stringify(answer).slice(0, 500)}`);
      own[index] = answer.pos;
    }
  },
};

const search = (order: "recent" | "rank"): Scenario => ({
  name: `search, ${order}`,
  what: `a word in 100,000 messages, ${order === "rank" ? "best" : "newest"} first, 10 answers with what was said around them`,
  async round(stage, round, done) {
    for (let index = 0; index < 10; index++) {
      const criteria = { search_term: searchWord(100 * round + 7 * index), keys: ["content.body"], order_by: order, filter: { limit: 10 } };
      const ask = { search_categories: { room_events: { ...criteria, event_context: { before_limit: 2, after_limit: 2, include_profile: true } } } };
      const answer = await timed(done, () => stage.target.users[0]!.post(`${C}/search`, ask));
      if (answer.search_categories.room_events.results.length === 0) throw new Error(`${stage.target.label} does not find ${criteria.search_term}`);
    }
  },
});

export const LARGE: readonly Scenario[] = [firstAnswer, nextAnswer, wholeList, search("recent"), search("rank")];

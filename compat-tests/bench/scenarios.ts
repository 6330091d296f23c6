import { C, enc, type MatrixClient } from "../harness/client.ts";
import { inParallel, sleep } from "../harness/scratch.ts";
import { timed, type Target } from "./targets.ts";

/** One thing that is measured. `prepare` runs once a target, `round` once a target and round; the parts that need it share a `Stage`. */
export interface Scenario {
  readonly name: string;
  readonly what: string;
  /** False for targets on which it cannot be measured. */
  applies?(target: Target): boolean;
  prepare?(stage: Stage): Promise<void>;
  /** Brings a target into position before each measured round; not measured itself. */
  arrange?(stage: Stage, round: number): Promise<void>;
  /** Measured rounds for each round of the run. */
  readonly repeat?: number;
  round(stage: Stage, round: number, done: (ms: number) => void): Promise<void>;
}

/** What the scenarios leave to each other on one target. */
export interface Stage {
  readonly target: Target;
  readonly scale: Scale;
  rooms: string[];
  joinRoom: string;
  wakeRoom: string;
  bigRoom: string;
  ownRooms: string[];
  /** Clients that wait for the message of the round; each resolves when it has it. */
  waiting: { arrivals: Promise<number>[]; body: string };
  tokens: string[];
}

export interface Scale {
  rounds: number;
  users: number;
  rooms: number;
  events: number;
  waiting: number;
  soloSends: number;
  /** Members of the room that is joined over federation. */
  members: number;
  /** Messages that another server sends at once. */
  burst: number;
  /** Servers that get one message. */
  destinations: number;
  /** Files up or down in a round. */
  media: number;
  /** Rooms of the user who asks by sliding sync. */
  manyRooms: number;
  /** Messages that are searched. */
  searchable: number;
}

export function fullScale(factor: number, rounds: number): Scale {
  const scaled = (n: number, least: number): number => Math.max(least, Math.round(n * factor));
  return {
    rounds,
    users: scaled(300, 20),
    rooms: scaled(200, 2 * rounds),
    events: scaled(5000, 100),
    waiting: scaled(100, 10),
    soloSends: scaled(300, 10 * rounds),
    members: scaled(10_000, 50),
    burst: scaled(1000, 50),
    destinations: scaled(500, 5),
    media: scaled(100, 8),
    manyRooms: scaled(2000, 40),
    searchable: scaled(100_000, 1000),
  };
}

export function newStage(target: Target, scale: Scale): Stage {
  return { target, scale, rooms: [], joinRoom: "", wakeRoom: "", bigRoom: "", ownRooms: [], waiting: { arrivals: [], body: "" }, tokens: [] };
}

const user = (stage: Stage, index: number): MatrixClient => stage.target.users[index % stage.target.users.length]!;
const perRound = (stage: Stage, total: number): number => Math.ceil(total / stage.scale.rounds);

const createRooms: Scenario = {
  name: "create room",
  what: "one user creates public rooms, one after the other",
  async round(stage, round, done) {
    for (let i = 0; i < perRound(stage, stage.scale.rooms); i++) {
      stage.rooms.push(await timed(done, () => user(stage, 0).createRoom({ preset: "public_chat", name: `Room ${round} ${i}`, topic: "bench" })));
    }
  },
};

const initialSync: Scenario = {
  name: "initial sync",
  what: "initial sync of a user in 200 rooms",
  async prepare(stage) {
    // What a user's rooms hold beside their creation: another member and something said.
    await inParallel(stage.rooms.slice(0, 40), 4, async (room) => {
      await user(stage, 1).join(room);
      await user(stage, 1).text(room, "hello");
    });
  },
  async round(stage, _round, done) {
    for (let i = 0; i < 4; i++) {
      await timed(done, () => user(stage, 0).sync({ filter: JSON.stringify({ room: { timeline: { limit: 10 + i }, state: { lazy_load_members: true } } }) }));
    }
  },
};

const joins: Scenario = {
  name: "join",
  what: "300 users join one room, 10 at a time",
  async prepare(stage) {
    stage.joinRoom = stage.wakeRoom = await user(stage, 0).createRoom({ preset: "public_chat", name: "Everybody" });
  },
  async round(stage, round, done) {
    const each = perRound(stage, stage.scale.users - 1);
    const joining = stage.target.users.slice(1 + round * each, 1 + (round + 1) * each);
    await inParallel(joining, 10, (client) => timed(done, () => client.join(stage.joinRoom)));
  },
};

const wake: Scenario = {
  name: "sync wake-up",
  what: "from the send of a message until each of 100 waiting clients has it",
  repeat: 3,
  async arrange(stage, round) {
    const clients = stage.target.users.slice(1, 1 + stage.scale.waiting);
    const filter = JSON.stringify({
      room: { rooms: [stage.wakeRoom], timeline: { limit: 1 }, state: { lazy_load_members: true }, ephemeral: { types: [] } },
      presence: { types: [] },
      account_data: { types: [] },
    });
    if (stage.tokens.length === 0)
      stage.tokens = await inParallel(clients, 10, async (client) => (await client.sync({ filter, timeout: 0 })).next_batch as string);
    const body = `wake ${round}`;
    const arrivals = clients.map(async (client, index) => {
      for (;;) {
        const answer = await client.sync({ filter, since: stage.tokens[index], timeout: 30_000 }, 60_000);
        stage.tokens[index] = answer.next_batch;
        const events = answer.rooms?.join?.[stage.wakeRoom]?.timeline?.events ?? [];
        if (events.some((event: { content: { body?: string } }) => event.content.body === body)) return performance.now();
      }
    });
    stage.waiting = { arrivals, body };
    await sleep(700); // until all wait
  },
  async round(stage, _round, done) {
    const begun = performance.now();
    await user(stage, 0).text(stage.wakeRoom, stage.waiting.body);
    for (const arrival of await Promise.all(stage.waiting.arrivals)) done(arrival - begun);
  },
};

const soloSend: Scenario = {
  name: "send, 1 sender",
  what: "one user sends messages, one after the other",
  async prepare(stage) {
    stage.bigRoom = await user(stage, 0).createRoom({ preset: "public_chat", name: "Busy" });
    for (let i = 1; i < 20; i++) await user(stage, i).join(stage.bigRoom);
  },
  async round(stage, round, done) {
    for (let i = 0; i < perRound(stage, stage.scale.soloSends); i++) await timed(done, () => user(stage, 0).text(stage.bigRoom, `solo ${round} ${i}`));
  },
};

const crowdSend: Scenario = {
  name: "send, 20 senders in one room",
  what: "20 users send at once to the same room",
  async round(stage, round, done) {
    const count = perRound(stage, Math.max(100, stage.scale.events - stage.scale.soloSends));
    await inParallel(Array.from({ length: 20 }), 20, async (_, who) => {
      for (let i = who; i < count; i += 20)
        await timed(done, () => user(stage, who).text(stage.bigRoom, `crowd ${round} ${i} and some more words, as people use`));
    });
  },
};

const messages: Scenario = {
  name: "/messages",
  what: "walk back through 5,000 events, 100 a page",
  async round(stage, round, done) {
    let from: string | undefined;
    for (let page = 0; page < 200; page++) {
      const answer = await timed(done, () => user(stage, round).get(`${C}/rooms/${enc(stage.bigRoom)}/messages`, { dir: "b", limit: 100, from }));
      if (answer.end === undefined || answer.chunk.length === 0) break;
      from = answer.end;
    }
  },
};

const manyRoomsSend: Scenario = {
  name: "send, 50 senders in 50 rooms",
  what: "50 users send at once, each to a room of their own",
  async prepare(stage) {
    stage.ownRooms = await inParallel(Array.from({ length: 50 }), 4, (_, who) => user(stage, who).createRoom({ preset: "private_chat" }));
  },
  async round(stage, round, done) {
    const each = Math.max(2, Math.round((8 * stage.scale.events) / 5000));
    await inParallel(stage.ownRooms, 50, async (room, who) => {
      for (let i = 0; i < each; i++) await timed(done, () => user(stage, who).text(room, `own ${round} ${i}`));
    });
  },
};

/** In the order in which they must run: each uses what those before it made. */
export const SCENARIOS: readonly Scenario[] = [createRooms, initialSync, joins, wake, soloSend, crowdSend, messages, manyRoomsSend];

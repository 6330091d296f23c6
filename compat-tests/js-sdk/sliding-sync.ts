import assert from "node:assert/strict";
import { EventType, Preset, RoomType, SlidingSyncEvent } from "matrix-js-sdk";
import { type MSC3575List, type MSC3575RoomData, type MSC3575SlidingSyncResponse, SlidingSync, SlidingSyncState } from "matrix-js-sdk/lib/sliding-sync.js";
import type { Json } from "../harness/client.ts";
import { ENCRYPTION, type Person, type PersonOptions, type Scenario, type Stage, until } from "./person.ts";

const REQUIRED = [
  [EventType.RoomCreate, ""],
  [EventType.RoomName, ""],
  [EventType.RoomEncryption, ""],
  [EventType.RoomMember, "$ME"],
  [EventType.RoomMember, "$LAZY"],
];
const list = (more: Partial<MSC3575List> = {}): MSC3575List => ({ ranges: [[0, 1]], required_state: REQUIRED, timeline_limit: 1, ...more });

/** A person whose client has sliding sync, and what it was told of rooms. */
interface Slider {
  readonly person: Person;
  readonly sliding: SlidingSync;
  readonly told: { roomId: string; data: MSC3575RoomData }[];
  readonly answers: MSC3575SlidingSyncResponse[];
}

async function slide(stage: Stage, name: string, lists: Record<string, MSC3575List>, options: PersonOptions = {}): Promise<Slider> {
  const person = await stage.person(name, { ...options, idle: true });
  const sliding = new SlidingSync(stage.baseUrl, new Map(Object.entries(lists)), { required_state: [["*", "*"]], timeline_limit: 20 }, person.sdk, 2_000);
  const slider: Slider = { person, sliding, told: [], answers: [] };
  sliding.on(SlidingSyncEvent.RoomData, (roomId, data) => void slider.told.push({ roomId, data }));
  sliding.on(SlidingSyncEvent.Lifecycle, (state, answer) => {
    if (state === SlidingSyncState.Complete && answer !== null) slider.answers.push(answer);
  });
  await person.start({ slidingSync: sliding });
  return slider;
}

/** The next thing that the client is told of the room, after what it was told before. */
function tells(slider: Slider, what: string, roomId: string, where: (data: MSC3575RoomData) => boolean = () => true): Promise<MSC3575RoomData> {
  const from = slider.told.length;
  return until(`${slider.person.userId} is told ${what}`, () => slider.told.slice(from).find((each) => each.roomId === roomId && where(each.data))?.data);
}

const rooms = (slider: Slider): string[] =>
  slider.person.sdk
    .getRooms()
    .map(({ name }) => name)
    .sort();

async function lists(stage: Stage): Promise<Json> {
  const alice = await stage.person("slide-alice");
  const bobs = await stage.person("slide-bob", { idle: true });
  const ids = new Map<string, string>();
  for (let i = 0; i < 6; i++) {
    const name = `Room ${i}`;
    const roomId = await alice.createRoom({ preset: Preset.PublicChat, name, ...(i === 1 ? { creation_content: { type: RoomType.Space } } : {}) });
    ids.set(name, roomId);
    await bobs.http.join(roomId);
  }
  for (const name of ["Room 2", "Room 0", "Room 4", "Room 5", "Room 3"]) await alice.says(ids.get(name)!, `bumps ${name}`);
  await bobs.http.put(`/_matrix/client/v3/user/${bobs.userId}/account_data/m.direct`, { [alice.userId]: [ids.get("Room 2")] });

  const filtered = { spaces: { room_types: ["m.space"] }, direct: { is_dm: true }, rest: { is_dm: false, not_room_types: ["m.space"] } };
  const bob = await slide(
    stage,
    "slide-bob",
    {
      all: list(),
      ...Object.fromEntries(Object.entries(filtered).map(([name, filters]) => [name, list({ filters, ranges: [[0, 0]], required_state: [] })])),
    },
    { deviceId: "SLIDER", existing: true },
  );
  await until("the first rooms are there", () => rooms(bob).length >= 3);
  const first = [rooms(bob), Object.fromEntries(["all", "spaces", "direct", "rest"].map((key) => [key, bob.sliding.getListData(key)?.joinedCount]))];
  // The list grows, by one window after the other.
  bob.sliding.setListRanges("all", [[0, 3]]);
  await until("the list has grown", () => rooms(bob).length >= 4);
  bob.sliding.setListRanges("all", [[0, 9]]);
  await until("the list is whole", () => rooms(bob).length === 6);
  const room = (name: string) => bob.person.sdk.getRoom(ids.get(name)!)!;
  const order = [...ids.keys()].sort((a, b) => (room(b).getBumpStamp() ?? 0) - (room(a).getBumpStamp() ?? 0));
  // A longer timeline of rooms that are known already.
  bob.sliding.setList("all", list({ ranges: [[0, 9]], timeline_limit: 10 }));
  await until("the timelines have grown", () => room("Room 3").getLiveTimeline().getEvents().length > 1);
  const grown = room("Room 3").getLiveTimeline().getEvents().flatMap((event) => event.getContent()["body"] ?? []); // prettier-ignore

  const bumped = tells(bob, "of a message", ids.get("Room 1")!);
  await alice.says(ids.get("Room 1")!, "live");
  const live = await bumped;
  const late = await alice.createRoom({ preset: Preset.PublicChat, name: "Room 6" });
  await bobs.http.join(late);
  await until("a new room comes", () => bob.person.sdk.getRoom(late)?.name === "Room 6");
  await until("the count grows", () => bob.sliding.getListData("all")?.joinedCount === 7);
  await bobs.http.leave(late);
  await until("the count falls", () => bob.sliding.getListData("all")?.joinedCount === 6);
  return { first, order, grown, live: [live.num_live, live.initial ?? false, live.timeline.map((event) => event.content["body"]), live.joined_count ?? null] };
}

async function subscriptions(stage: Stage): Promise<Json> {
  const alice = await stage.person("sub-alice");
  const quiet = await alice.createRoom({ preset: Preset.PublicChat, name: "Quiet", topic: "Hush" });
  const loud = await alice.createRoom({ preset: Preset.PublicChat, name: "Loud" });
  const bobs = await stage.person("sub-bob", { idle: true });
  for (const roomId of [quiet, loud]) await bobs.http.join(roomId);
  for (let i = 0; i < 5; i++) await alice.says(quiet, `q${i}`);
  await alice.says(loud, "on top");
  const bob = await slide(stage, "sub-bob", { one: list({ ranges: [[0, 0]] }) }, { deviceId: "SLIDER", existing: true });
  await until("the top room is there", () => bob.person.sdk.getRoom(loud));
  const before = rooms(bob);
  const opened = tells(bob, "of the opened room", quiet, (data) => data.initial === true);
  bob.sliding.modifyRoomSubscriptions(new Set([quiet]));
  const data = await opened;
  const { sdk } = bob.person;
  await until("its history is there", () => sdk.getRoom(quiet)!.getLiveTimeline().getEvents().filter((event) => event.getContent()["body"]).length === 5); // prettier-ignore
  const member = bob.person.sdk.getRoom(quiet)!.getMember(alice.userId)?.membership;
  await bob.person.sdk.scrollback(bob.person.sdk.getRoom(quiet)!, 30);
  return {
    before,
    state: [...new Set(data.required_state.map(({ type }) => type))].sort(),
    limited: data.limited,
    member,
    topic: bob.person.sdk.getRoom(quiet)!.currentState.getStateEvents(EventType.RoomTopic, "")?.getContent()["topic"],
    counts: [data.joined_count, data.invited_count, data.notification_count, data.highlight_count],
    // What is visible before the join, with the creation at the beginning.
    scrolled: sdk.getRoom(quiet)!.getLiveTimeline().getEvents()[0]!.getType(), // prettier-ignore
  };
}

async function extensions(stage: Stage): Promise<Json> {
  const alice = await stage.person("ext-alice");
  const bob = await slide(stage, "ext-bob", { all: list({ ranges: [[0, 9]], timeline_limit: 10 }) });
  const { sdk } = bob.person;
  const invited = await alice.createRoom({ name: "Come in", invite: [bob.person.userId] });
  await until("the invite is there", () => sdk.getRoom(invited)?.getMyMembership() === "invite");
  const invite = [
    sdk.getRoom(invited)!.name,
    bob.told
      .find(({ roomId }) => roomId === invited)!
      .data.invite_state?.map(({ type }) => type)
      .sort(),
  ];
  await sdk.joinRoom(invited);
  const room = await until("bob is in", () => {
    const joined = sdk.getRoom(invited);
    return joined?.getMyMembership() === "join" && joined;
  });
  await alice.sees(invited, bob.person, "join");
  const message = await alice.says(invited, "hello, ext-bob", { "m.mentions": { user_ids: [bob.person.userId] } });
  await bob.person.hears("hello, ext-bob");

  await alice.sdk.sendTyping(invited, true, 20_000);
  await until("alice types", () => room.currentState.getMember(alice.userId)?.typing);
  await sdk.sendReadReceipt(await bob.person.event(invited, message));
  await until("alice sees that bob has read it", () => alice.sdk.getRoom(invited)!.getEventReadUpTo(bob.person.userId, true) === message);
  const reply = await bob.person.says(invited, "hello, ext-alice");
  await alice.sdk.sendReadReceipt(await alice.event(invited, reply));
  await until("bob sees that alice has read it", () => room.getEventReadUpTo(alice.userId, true) === reply);

  await sdk.setAccountDataRaw("org.example.colour" as never, { colour: "blue" } as never);
  await until("account data comes", () => sdk.getAccountData("org.example.colour" as never)?.getContent()["colour"] === "blue");
  await sdk.setRoomAccountData(invited, "org.example.note", { note: "nice" });
  await until("that of rooms as well", () => room.getAccountData("org.example.note")?.getContent()["note"] === "nice");
  await sdk.setRoomTag(invited, "m.lowpriority", { order: 0.1 });
  await until("and tags", () => bob.answers.some((answer) => JSON.stringify(answer.extensions["account_data"] ?? {}).includes("m.lowpriority")));
  await alice.sdk.sendToDevice("org.example.ping", new Map([[bob.person.userId, new Map([[bob.person.deviceId, { n: 1 }]])]]));
  await until("a message to the device comes", () => bob.person.toDevice.some(({ type }) => type === "org.example.ping"));
  return { invite, pings: bob.person.toDevice.length };
}

async function encrypted(stage: Stage): Promise<Json> {
  const lists = { all: list({ ranges: [[0, 9]], timeline_limit: 20, required_state: [["*", "*"]] }) };
  const alice = await slide(stage, "crypt-alice", lists, { crypto: true });
  const bob = await stage.person("crypt-bob", { crypto: true });
  const roomId = await alice.person.createRoom({ preset: Preset.TrustedPrivateChat, name: "Sealed", invite: [bob.userId], initial_state: [ENCRYPTION] });
  await bob.room(roomId);
  await bob.sdk.joinRoom(roomId);
  await alice.person.sees(roomId, bob, "join");
  await until("alice's client encrypts", () => alice.person.crypto.isEncryptionEnabledInRoom(roomId));
  await alice.person.says(roomId, "over sliding sync");
  await bob.hears("over sliding sync");
  await bob.says(roomId, "over the old one");
  await alice.person.hears("over the old one");
  // Keys that wait while the client is away come with its next answer, and so do those for a new device.
  alice.person.pause();
  await bob.rotate(roomId);
  await bob.says(roomId, "while alice was away");
  alice.person.resume();
  await alice.person.hears("while alice was away");
  const tablet = await stage.person("crypt-bob", { deviceId: "TABLET", existing: true, crypto: true });
  await until("alice knows bob's new device", async () => (await alice.person.crypto.getUserDeviceInfo([bob.userId])).get(bob.userId)?.has("TABLET"));
  await alice.person.says(roomId, "to both");
  await tablet.hears("to both");
  const counts = alice.answers.map((answer) => (answer.extensions["e2ee"] as Json)?.device_one_time_keys_count?.signed_curve25519).filter((count) => count > 0);
  assert.ok(counts.length > 0, "the client is told how many of its keys are left");
  return {
    undecrypted: [...alice.person.undecrypted, ...bob.undecrypted],
    plain: [...alice.person.plain, ...bob.plain],
    encrypted: alice.person.sdk.getRoom(roomId)!.hasEncryptionStateEvent(),
  };
}

/** Simplified sliding sync (MSC4186), through the SDK's own class for it. */
export const SLIDING: readonly Scenario[] = [
  { name: "lists grow, are filtered and follow what happens", run: lists },
  { name: "a room that is opened comes with its history and state", run: subscriptions },
  { name: "invites, counts, receipts, typing, account data and messages to devices come", run: extensions },
  { name: "what is encrypted is decrypted", run: encrypted },
];

import assert from "node:assert/strict";
import {
  Direction,
  EventType,
  type MatrixEvent,
  MsgType,
  NotificationCountType,
  ReceiptType,
  RelationType,
  type Room,
  type Thread,
  type TimelineEvents,
  UpdateDelayedEventAction,
} from "matrix-js-sdk";
import { M_POLL_END, M_POLL_KIND_DISCLOSED, M_POLL_RESPONSE, M_POLL_START } from "matrix-js-sdk/lib/@types/polls.js";
import { C, enc, type Json } from "../harness/client.ts";
import { png } from "../harness/png.ts";
import { type Person, refusal, type Scenario, type Stage, until } from "./person.ts";

const body = (event: MatrixEvent | null | undefined): Json => event?.getContent()["body"];
const counts = (room: Room): number[] => [
  room.getRoomUnreadNotificationCount(NotificationCountType.Total),
  room.getRoomUnreadNotificationCount(NotificationCountType.Highlight),
];
const threadCounts = (room: Room, root: string): number[] => [
  room.getThreadUnreadNotificationCount(root, NotificationCountType.Total),
  room.getThreadUnreadNotificationCount(root, NotificationCountType.Highlight),
];

async function edits(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["edit-alice", "edit-bob"])) as [Person, Person];
  const room = await alice.roomWith([bob]);
  const edit = async (by: Person, original: string, text: string): Promise<string> => {
    const content = { msgtype: "m.text", body: text };
    const { event_id } = await by.sends(room, {
      ...content,
      body: `* ${text}`,
      "m.new_content": content,
      "m.relates_to": { rel_type: RelationType.Replace, event_id: original },
    });
    return event_id;
  };
  const original = await alice.says(room, "teh first");
  await edit(alice, original, "the first");
  const last = await edit(alice, original, "the very first");
  const seen = await bob.event(room, original);
  await until("bob sees the last edit", () => body(seen) === "the very first");
  await edit(bob, original, "what bob would have her say");

  // A client that comes later is given the edit with the event.
  const late = await stage.person("edit-bob", { deviceId: "LATE", existing: true });
  const bundled = await until("the event has its edit", () => {
    const event = late.sdk.getRoom(room)?.findEventById(original);
    return body(event) === "the very first" && event;
  });
  // Now, before the redaction reaches these very objects.
  const { events } = await bob.sdk.relations(room, original, RelationType.Replace, EventType.RoomMessage, { dir: Direction.Forward });
  const shown = {
    original: bundled.getOriginalContent()["body"],
    replaced: bundled.replacingEventId() === last,
    history: events.map((event) => [event.getSender(), event.getOriginalContent()["body"]]),
  };
  // The last edit is taken back: the one before counts again.
  await alice.sdk.redactEvent(room, last);
  const before = await until("the edit before counts again", async () => {
    const fetched = bob.sdk.getEventMapper()(await bob.sdk.fetchRoomEvent(room, original));
    return body(fetched) === "the first" && fetched;
  });
  return {
    ...shown,
    before: [before.getSender(), before.getOriginalContent()["body"], before.replacingEventId() !== undefined],
  };
}

async function reactions(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["react-alice", "react-bob"])) as [Person, Person];
  const room = await alice.roomWith([bob]);
  const message = await alice.says(room, "lunch?");
  const react = (by: Person, key: string) =>
    by.sdk.sendEvent(room, EventType.Reaction, { "m.relates_to": { rel_type: RelationType.Annotation, event_id: message, key } });
  const { event_id } = await react(bob, "👍");
  await react(alice, "👍");
  await react(alice, "🦊");
  const again = { "m.relates_to": { rel_type: RelationType.Annotation, event_id: message, key: "👍" } };
  const twice = await bob.http.request("PUT", `${C}/rooms/${enc(room)}/send/m.reaction/twice`, { body: again });
  const counted = (by: Person): Json => {
    const relations = by.sdk.getRoom(room)!.relations.getChildEventsForEvent(message, RelationType.Annotation, EventType.Reaction);
    return (relations?.getSortedAnnotationsByKey() ?? []).map(([key, events]) => [key, [...events].map((event) => event.getSender()).sort()]).sort();
  };
  const reaches = (by: Person, expected: Json) => until(`${by.userId} counts`, () => JSON.stringify(counted(by)) === JSON.stringify(expected));
  const both = [alice.userId, bob.userId];
  const all = [
    ["👍", both],
    ["🦊", [alice.userId]],
  ];
  await reaches(alice, all);
  await reaches(bob, all);
  await bob.sdk.redactEvent(room, event_id, undefined, { reason: "not hungry" });
  const left = all.map(([key]) => [key, [alice.userId]]);
  await reaches(alice, left);
  await reaches(bob, left);
  const paged = await bob.sdk.relations(room, message, RelationType.Annotation, EventType.Reaction);
  return { twice: [twice.status, twice.body.errcode], paged: paged.events.map((event) => event.getRelation()?.key) };
}

async function redactions(stage: Stage): Promise<Json> {
  const [alice, bob, carol] = (await stage.people(["redact-alice", "redact-bob", "redact-carol"])) as [Person, Person, Person];
  const room = await alice.createRoom();
  for (const guest of [bob, carol]) {
    await alice.sdk.invite(room, guest.userId);
    await guest.sdk.joinRoom(room);
    await guest.room(room);
  }
  const [own, others] = [await bob.says(room, "regretted"), await bob.says(room, "offensive")];
  await bob.sdk.redactEvent(room, own);
  const refused = await refusal(carol.sdk.redactEvent(room, others));
  await alice.sdk.redactEvent(room, others, undefined, { reason: "house rules" });
  const event = await carol.event(room, others);
  await until("carol sees it redacted", () => event.isRedacted());
  await until("and bob's own", async () => (await carol.event(room, own)).isRedacted());
  const because = event.getUnsigned().redacted_because!;
  return { refused, content: event.getContent(), because: [because.sender, because.content.reason], own: (await carol.event(room, own)).getContent() };
}

async function threads(stage: Stage): Promise<Json> {
  const [alice, bob, carol] = (await stage.people(["thread-alice", "thread-bob", "thread-carol"])) as [Person, Person, Person];
  const room = await alice.roomWith([bob, carol]);
  const first = await alice.says(room, "a first topic");
  const second = await alice.says(room, "a second topic");
  await bob.event(room, second);
  const threadOf = (person: Person, root: string, replies: number): Promise<Thread> =>
    until(`${person.userId} has ${replies} replies`, () => {
      const thread = person.sdk.getRoom(room)!.getThread(root);
      // Not by its length: where a reply comes while the SDK asks for the root, it adds it to a count that has it already, and stays there.
      const known = thread?.events.filter((event) => event.getId() !== root).length;
      return thread?.initialEventsFetched && known === replies && thread;
    });
  await alice.replies(room, second, "other");
  // One after the other: the SDK miscounts replies that come while it makes the thread.
  for (const [index, text] of ["one", "two", "three"].entries()) {
    await bob.replies(room, first, text);
    await threadOf(alice, first, index + 1);
  }
  await carol.sdk.sendMessage(room, first, { msgtype: "m.text", body: "four, for alice", "m.mentions": { user_ids: [alice.userId] } } as Json);
  const thread = await threadOf(alice, first, 4);
  await until("its last reply", () => body(thread.replyToEvent) === "four, for alice");
  const aliceRoom = alice.sdk.getRoom(room)!;
  await until("alice has something to read in the thread", () => threadCounts(aliceRoom, first).join() === "4,1");
  const before = [counts(aliceRoom), threadCounts(aliceRoom, first), threadCounts(aliceRoom, second)];

  // A receipt in the thread is about the thread alone.
  await alice.sdk.sendReadReceipt(thread.replyToEvent!);
  await until("the thread is read", () => threadCounts(aliceRoom, first).join() === "0,0");
  const read = await until("bob sees alice's receipt in the thread", () => {
    const last = bob.sdk.getRoom(room)!.getThread(first)?.getEventReadUpTo(alice.userId);
    return last === thread.replyToEvent!.getId() && last;
  });
  assert.ok(read);
  const main = await bob.says(room, "beside the threads");
  await bob.replies(room, first, "five");
  await until("new replies count again", () => threadCounts(aliceRoom, first).join() === "1,0" && counts(aliceRoom).join() === "1,0");
  await alice.sdk.sendReadReceipt(await alice.event(room, main), ReceiptType.Read, true);
  await until("a receipt without a thread reads what came before it", () => counts(aliceRoom).join() === "0,0");
  const after = [counts(aliceRoom), threadCounts(aliceRoom, first)];

  // The list, for somebody who comes anew.
  const late = await stage.person("thread-carol", { deviceId: "LATE", existing: true });
  const lateRoom = await late.room(room);
  await lateRoom.createThreadsTimelineSets();
  await lateRoom.fetchRoomThreads();
  const [all] = lateRoom.threadsTimelineSets.map((set) => set.getLiveTimeline().getEvents());
  const list = (events: MatrixEvent[]): Json =>
    events.map((event) => [event.getId() === first ? "first" : "second", lateRoom.getThread(event.getId()!)?.length]);
  await until("the list says how long they are", () => lateRoom.getThread(first)?.length === 5 && lateRoom.getThread(second)?.length === 1);
  const listed = list(all!);
  const page = await late.sdk.relations(room, first, RelationType.Thread, null, { dir: Direction.Forward, limit: 2 });
  const next = await late.sdk.relations(room, first, RelationType.Thread, null, { dir: Direction.Forward, limit: 10, from: page.nextBatch! });
  const paged = [page.events.map(body), next.events.map(body)];
  // A reply that is taken back is not counted.
  await bob.sdk.redactEvent(room, first, thread.events.find((event) => body(event) === "one")!.getId()!);
  const summary = await until("the thread is shorter", async () => {
    const { unsigned } = await alice.sdk.fetchRoomEvent(room, first);
    const { count, current_user_participated, latest_event } = (unsigned as Json)["m.relations"]["m.thread"];
    return count === 4 && { participated: current_user_participated, latest: latest_event.content.body };
  });
  return { before, after, listed, summary, paged };
}

async function reading(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["read-alice", "read-bob"])) as [Person, Person];
  const room = await alice.roomWith([bob], { name: "Reading", preset: undefined! });
  const bobRoom = bob.sdk.getRoom(room)!;
  const first = await alice.says(room, "one");
  await alice.says(room, "two");
  const mention = await alice.says(room, "three, bob", { "m.mentions": { user_ids: [bob.userId] } });
  await until("bob has three to read", () => counts(bobRoom).join() === "3,1");
  await bob.sdk.sendReadReceipt(await bob.event(room, first));
  await until("bob has read one", () => counts(bobRoom).join() === "2,1");
  await until("alice sees it", () => alice.sdk.getRoom(room)!.getEventReadUpTo(bob.userId, true) === first);
  // A private receipt counts for bob and is nobody else's business.
  await bob.sdk.sendReadReceipt(await bob.event(room, mention), ReceiptType.ReadPrivate);
  await until("bob has read all", () => counts(bobRoom).join() === "0,0");
  const seen = alice.sdk.getRoom(room)!.getEventReadUpTo(bob.userId, true) === first;
  await bob.sdk.setRoomReadMarkers(room, mention, await bob.event(room, mention));
  await until("the marker is there", () => bobRoom.getAccountData(EventType.FullyRead)?.getContent()["event_id"] === mention);
  await until("alice sees the receipt", () => alice.sdk.getRoom(room)!.getEventReadUpTo(bob.userId, true) === mention);

  await alice.sdk.sendTyping(room, true, 20_000);
  await until("bob sees alice type", () => bobRoom.getMember(alice.userId)!.typing);
  await alice.sdk.sendTyping(room, false, 20_000);
  await until("and stop", () => !bobRoom.getMember(alice.userId)!.typing);

  await bob.sdk.setRoomMutePushRule("global", room, true);
  await until("the room is mute", () => bob.sdk.getRoomPushRule("global", room) !== undefined);
  await alice.says(room, "unheard");
  await bob.hears("unheard");
  const muted = counts(bobRoom);
  await bob.sdk.setRoomMutePushRule("global", room, false);
  await until("the room is loud", () => bob.sdk.getRoomPushRule("global", room) === undefined);
  await alice.says(room, "heard");
  await until("it counts again", () => counts(bobRoom)[0]! > 0);
  return { seen, muted, loud: counts(bobRoom) };
}

async function polls(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["poll-alice", "poll-bob"])) as [Person, Person];
  const room = await alice.roomWith([bob]);
  const text = (words: string): Json => ({ "org.matrix.msc1767.text": words });
  const start = {
    [M_POLL_START.name]: {
      question: text("Where?"),
      kind: M_POLL_KIND_DISCLOSED.name,
      max_selections: 1,
      answers: [
        { id: "sea", ...text("Sea") },
        { id: "hills", ...text("Hills") },
      ],
    },
    ...text("Where? Sea or hills"),
  };
  const send = (by: Person, type: string, content: Json) => by.sdk.sendEvent(room, type as keyof TimelineEvents, content);
  const { event_id } = await send(alice, M_POLL_START.name, start);
  const poll = await until("bob has the poll", () => bob.sdk.getRoom(room)!.polls.get(event_id));
  const votes = await poll.getResponses();
  const relation = { rel_type: RelationType.Reference, event_id };
  const vote = (by: Person, ...answers: string[]) => send(by, M_POLL_RESPONSE.name, { "m.relates_to": relation, [M_POLL_RESPONSE.name]: { answers } });
  await vote(bob, "sea");
  await vote(alice, "hills");
  await vote(bob, "hills");
  await until("all votes have come", () => votes.getRelations().length === 3);
  await send(alice, M_POLL_END.name, { "m.relates_to": relation, [M_POLL_END.name]: {}, ...text("Hills") });
  await until("the poll is over", () => poll.isEnded);
  const late = await stage.person("poll-bob", { deviceId: "LATE", existing: true });
  const same = await until("a new device has the poll", () => late.sdk.getRoom(room)?.polls.get(event_id));
  const fetched = await same.getResponses();
  await until("and knows that it is over", () => same.isEnded);
  return fetched
    .getRelations()
    .map((event) => [event.getSender(), event.getContent()[M_POLL_RESPONSE.name].answers])
    .sort();
}

async function history(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["history-alice", "history-bob"])) as [Person, Person];
  const room = await alice.createRoom();
  const ids: string[] = [];
  for (let i = 0; i < 45; i++) ids.push(await alice.says(room, `m${i}`));
  await alice.sdk.invite(room, bob.userId);
  await bob.room(room);
  await bob.sdk.joinRoom(room);
  const bobRoom = await bob.room(room);
  await until("bob is in", () => bobRoom.getMyMembership() === "join" && bobRoom.getLiveTimeline().getEvents().length > 5);
  const bodies = (): string[] =>
    bobRoom
      .getLiveTimeline()
      .getEvents()
      .map(body)
      .filter((each) => each !== undefined);
  while (bobRoom.getLiveTimeline().getPaginationToken(Direction.Backward) !== null) await bob.sdk.scrollback(bobRoom, 20);
  const all = bodies();
  // A permalink into the middle, and from there both ways.
  const timeline = (await bob.sdk.getEventTimeline(bobRoom.getUnfilteredTimelineSet(), ids[20]!))!;
  assert.ok(timeline.getEvents().some((event) => event.getId() === ids[20]));
  const fresh = await stage.person("history-bob", { deviceId: "LATE", existing: true, idle: true });
  await fresh.start({ initialSyncLimit: 5, lazyLoadMembers: true });
  const freshRoom = await fresh.room(room);
  const middle = (await fresh.sdk.getEventTimeline(freshRoom.getUnfilteredTimelineSet(), ids[10]!))!;
  const around = middle.getEvents().map(body);
  await fresh.sdk.paginateEventTimeline(middle, { backwards: true, limit: 3 });
  await fresh.sdk.paginateEventTimeline(middle, { backwards: false, limit: 3 });
  const wider = middle.getEvents().map(body);
  const lazy = freshRoom.getMembers().length > 0;
  await freshRoom.loadMembersIfNeeded();
  return { all, around, wider, lazy, members: freshRoom.getJoinedMembers().map(({ userId }) => userId).sort(), ts: (await bob.sdk.timestampToEvent(room, 0, Direction.Forward)).event_id !== undefined }; // prettier-ignore
}

async function media(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["media-alice", "media-bob"])) as [Person, Person];
  const room = await alice.roomWith([bob]);
  const picture = png(320, 240, 128);
  const limit = await alice.sdk.getMediaConfig(true);
  const { content_uri } = await alice.sdk.uploadContent(new Blob([new Uint8Array(picture)], { type: "image/png" }), { name: "hill.png", type: "image/png" });
  await alice.sdk.sendImageMessage(room, content_uri, { mimetype: "image/png", w: 320, h: 240, size: picture.length }, "hill.png");
  await bob.hears("hill.png");
  const url = bob.sdk.mxcUrlToHttp(content_uri, undefined, undefined, undefined, false, true, true)!;
  const small = bob.sdk.mxcUrlToHttp(content_uri, 96, 96, "crop", false, true, true)!;
  const old = bob.sdk.mxcUrlToHttp(content_uri)!;
  const headers = { authorization: `Bearer ${bob.sdk.getAccessToken()}` };
  const get = async (address: string, more: Record<string, string>): Promise<[Json, Buffer]> => {
    const response = await fetch(address, { headers: more });
    const bytes = Buffer.from(await response.arrayBuffer());
    return [[response.status, response.headers.get("content-type"), response.headers.get("content-disposition")], bytes];
  };
  const [full, bytes] = await get(url, headers);
  assert.deepEqual(bytes, picture);
  const [thumbnail] = await get(small, headers);
  const [bare] = await get(url, {});
  const [unauthenticated] = await get(old, {});
  return { limit, full, thumbnail: (thumbnail as Json[]).slice(0, 2), bare, unauthenticated };
}

async function delayed(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["delay-alice", "delay-bob"])) as [Person, Person];
  const room = await alice.roomWith([bob]);
  const HOUR = 3_600_000;
  const later = (text: string, delay: number) =>
    alice.sdk._unstable_sendDelayedEvent(room, { delay }, null, EventType.RoomMessage, { msgtype: MsgType.Text, body: text });
  await later("in a moment", 10);
  await bob.hears("in a moment");
  const [sent, cancelled] = [await later("sent early", HOUR), await later("never sent", HOUR)];
  const topic = await alice.sdk._unstable_sendDelayedStateEvent(room, { delay: HOUR }, EventType.RoomTopic, { topic: "Later" });
  const waiting = (await alice.sdk._unstable_getDelayedEvents()).delayed_events.map(({ type, content, delay }: Json) => [type, content, delay]);
  await alice.sdk._unstable_updateDelayedEvent(cancelled.delay_id, UpdateDelayedEventAction.Cancel);
  await alice.sdk._unstable_updateDelayedEvent(topic.delay_id, UpdateDelayedEventAction.Restart);
  await alice.sdk._unstable_updateDelayedEvent(sent.delay_id, UpdateDelayedEventAction.Send);
  await alice.sdk._unstable_updateDelayedEvent(topic.delay_id, UpdateDelayedEventAction.Send);
  await bob.hears("sent early");
  await until("the topic is set", () => bob.sdk.getRoom(room)!.currentState.getStateEvents(EventType.RoomTopic, "")?.getContent()["topic"] === "Later");
  const left = (await alice.sdk._unstable_getDelayedEvents()).delayed_events.length;
  const unknown = await refusal(alice.sdk._unstable_updateDelayedEvent("nothing", UpdateDelayedEventAction.Send));
  return { waiting: waiting.sort(), left, unknown, heard: bob.heard };
}

/** What people say to each other, without encryption. */
export const CONVERSATION: readonly Scenario[] = [
  { name: "edits are seen by those who are there and those who come later, and taken back", run: edits },
  { name: "reactions are counted, once for each person, and taken back", run: reactions },
  { name: "messages are redacted by their senders and by moderators", run: redactions },
  { name: "threads have their replies, counts, receipts and lists", run: threads },
  { name: "what is unread is counted, with mentions, private receipts, markers, and rooms that are mute", run: reading },
  { name: "polls are answered and end", run: polls },
  { name: "history is paged backwards, and from the middle both ways", run: history },
  { name: "messages are sent later, or not at all", run: delayed },
  { name: "media goes up and comes down, to those who are logged in", run: media },
];

import { Direction, EventType, Preset, Visibility } from "matrix-js-sdk";
import type { Json } from "../harness/client.ts";
import { ENCRYPTION, type Person, refusal, type Scenario, type Stage, until } from "./person.ts";

async function messages(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["search-alice", "search-bob"])) as [Person, Person];
  const harbour = await alice.roomWith([bob], { name: "Harbour" });
  const market = await alice.roomWith([bob], { name: "Fish market" });
  const secret = await alice.createRoom({ name: "Secret herring" });
  await alice.says(harbour, "The herring came in");
  await bob.says(harbour, "How many?");
  await bob.says(market, "herring, fresh herring");
  await alice.says(secret, "nobody else hears of my herring");
  for (let i = 0; i < 12; i++) await alice.says(harbour, `Haddock number ${i}`);
  await alice.sdk.setRoomTopic(market, "Herrings of the day");
  const redacted = await bob.says(market, "a rotten herring");
  await bob.sdk.redactEvent(market, redacted);
  const names = new Map([
    [harbour, "harbour"],
    [market, "market"],
    [secret, "secret"],
  ]);
  const found = (results: Json): Json => ({
    count: results.count,
    highlights: [...results.highlights].sort(),
    results: results.results.map(({ context }: Json) => {
      const event = context.ourEvent;
      const around = context.getTimeline().map((each: Json) => each.getContent().body ?? each.getType());
      return [names.get(event.getRoomId()), event.getContent().body ?? event.getContent().topic, around];
    }),
  });
  const herring = await bob.sdk.searchRoomEvents({ term: "herring" });
  const own = await alice.sdk.searchRoomEvents({ term: "HERRING nobody" });
  const inRoom = await bob.sdk.searchRoomEvents({ term: "herring", filter: { rooms: [market] } });
  const bySender = await bob.sdk.searchRoomEvents({ term: "herring", filter: { senders: [alice.userId] } });
  const none = await bob.sdk.searchRoomEvents({ term: "nobody" });
  const paged = await bob.sdk.searchRoomEvents({ term: "haddock" });
  const pages = [paged.results.length];
  while (paged.next_batch !== undefined) pages.push((await bob.sdk.backPaginateRoomEventsSearch(paged)).results.length);
  const plain = await bob.sdk.searchMessageText({ query: "fresh" });
  const empty = await refusal(bob.sdk.search({ body: { search_categories: {} } as Json }));
  return {
    herring: found(herring),
    own: found(own),
    inRoom: found(inRoom),
    bySender: found(bySender),
    none: found(none),
    pages,
    plain: plain.search_categories.room_events?.count,
    empty,
  };
}

async function people(stage: Stage): Promise<Json> {
  const [alice, bob, carol] = (await stage.people(["people-alice", "people-bob", "people-carol"])) as [Person, Person, Person];
  await bob.sdk.setDisplayName("Robert Herring");
  await carol.sdk.setDisplayName("Carol");
  await carol.sdk.setAvatarUrl("mxc://compat.test/carol");
  const room = await alice.roomWith([bob, carol]);
  const find = async (term: string): Promise<Json> => {
    const { results, limited } = await alice.sdk.searchUserDirectory({ term, limit: 5 });
    return [results.map((each) => [each.user_id, each.display_name ?? null, each.avatar_url ?? null]).sort(), limited];
  };
  await until("the directory has them", async () => ((await find("herring"))[0] as Json[]).length === 1 && ((await find("people-carol"))[0] as Json[])[0]?.[2]);
  const found = [await find("robert"), await find("people-carol"), await find("nobody of this name")];
  await until("alice's client has the names", () => alice.sdk.getRoom(room)!.getMember(bob.userId)!.name === "Robert Herring");
  return {
    found,
    profile: await alice.sdk.getProfileInfo(carol.userId),
    extended: await alice.sdk.doesServerSupportExtendedProfiles(),
    // Where there is no profile, the specification's code is M_NOT_FOUND; Synapse has another.
    nobody: (await refusal(alice.sdk.getProfileInfo("@people-nobody:compat.test")))[0],
  };
}

async function directory(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["list-alice", "list-bob"])) as [Person, Person];
  const rooms: string[] = [];
  for (const name of ["Quay one", "Quay two", "Quay three"]) {
    rooms.push(
      await alice.createRoom({
        name,
        topic: `Talk about ${name}`,
        preset: Preset.PublicChat,
        visibility: Visibility.Public,
        room_alias_name: name.replace(" ", "-"),
      }),
    );
  }
  await bob.sdk.joinRoom("#Quay-two:compat.test");
  await bob.room(rooms[1]!);
  const list = async (options: Json): Promise<Json> => bob.sdk.publicRooms({ filter: { generic_search_term: "quay" }, ...options });
  const shown = ({ chunk, ...rest }: Json): Json => [
    chunk.map((each: Json) => [each.name, each.topic, each.num_joined_members, each.canonical_alias, each.join_rule]).sort(),
    Object.keys(rest).sort(),
  ];
  await until("the list has them", async () => (await list({})).chunk.some((each: Json) => each.num_joined_members === 2));
  const all = await list({});
  const first = await list({ limit: 2 });
  const second = await list({ limit: 2, since: first.next_batch });
  const titles = (await bob.sdk.publicRooms({ limit: 100 })).chunk.map(({ name }) => name).filter((name) => name?.startsWith("Quay"));
  await alice.sdk.createAlias("#pier:compat.test", rooms[2]!);
  const aliases = (await alice.sdk.getLocalAliases(rooms[2]!)).aliases.sort();
  const taken = await refusal(bob.sdk.createAlias("#pier:compat.test", rooms[1]!));
  const { room_id, servers } = await bob.sdk.getRoomIdForAlias("#pier:compat.test");
  await alice.sdk.deleteAlias("#pier:compat.test");
  await alice.sdk.setRoomDirectoryVisibility(rooms[0]!, Visibility.Private);
  const summary = await bob.sdk.getRoomSummary("#Quay-one:compat.test");
  return {
    all: shown(all),
    // Rooms of one size have no order but that of their ids.
    pages: [first.chunk.length, second.chunk.length, shown({ chunk: [...first.chunk, ...second.chunk] })],
    titles: titles.length,
    aliases,
    taken,
    alias: [room_id === rooms[2], servers],
    gone: await refusal(bob.sdk.getRoomIdForAlias("#pier:compat.test")),
    visibility: [await bob.sdk.getRoomDirectoryVisibility(rooms[0]!), shown(await list({}))],
    summary: { ...summary, room_id: summary.room_id === rooms[0] },
  };
}

async function times(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["time-alice", "time-bob"])) as [Person, Person];
  const room = await alice.roomWith([bob], { initial_state: [ENCRYPTION].slice(1) });
  const first = await alice.event(room, await alice.says(room, "a first"));
  const second = await alice.event(room, await alice.says(room, "a second"));
  const at = async (ts: number, direction: Direction): Promise<Json> => {
    const { event_id } = await bob.sdk.timestampToEvent(room, ts, direction);
    return event_id === first.getId() ? "first" : event_id === second.getId() ? "second" : (await bob.sdk.fetchRoomEvent(room, event_id)).type;
  };
  return {
    found: [
      await at(0, Direction.Forward),
      await at(first.getTs(), Direction.Backward),
      await at(second.getTs(), Direction.Forward),
      await at(second.getTs() + 60_000, Direction.Backward),
    ],
    none: [await refusal(at(second.getTs() + 60_000, Direction.Forward)), await refusal(at(0, Direction.Backward))],
    events: (await bob.sdk.roomState(room)).map(({ type }) => type).filter((type) => type !== (EventType.RoomMember as string)).sort(), // prettier-ignore
  };
}

/** Messages, people and rooms are found. */
export const FINDING: readonly Scenario[] = [
  { name: "messages are searched, with what stood around them, page by page", run: messages },
  { name: "people are found by their names, and have profiles", run: people },
  { name: "public rooms are listed, filtered and found by their aliases", run: directory },
  { name: "events are found by their times", run: times },
];

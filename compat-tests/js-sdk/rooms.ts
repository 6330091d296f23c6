import assert from "node:assert/strict";
import { EventType, JoinRule, KnownMembership, Preset, RoomType, Visibility } from "matrix-js-sdk";
import { RoomHierarchy } from "matrix-js-sdk/lib/room-hierarchy.js";
import type { Json } from "../harness/client.ts";
import { type Person, refusal, type Scenario, type Stage, until } from "./person.ts";

const SERVER = "compat.test";
const membership = (person: Person, roomId: string): Json => person.sdk.getRoom(roomId)?.getMyMembership();
const becomes = (person: Person, roomId: string, wanted: string) => until(`${person.userId} is at ${wanted}`, () => membership(person, roomId) === wanted);
const child = (space: Person, spaceId: string, roomId: string, more: Record<string, unknown> = {}) =>
  space.sdk.sendStateEvent(spaceId, EventType.SpaceChild, { via: [SERVER], ...more } as Json, roomId);
const space = (by: Person, name: string, more: Json = {}): Promise<string> =>
  by.createRoom({ name, creation_content: { type: RoomType.Space }, power_level_content_override: { events_default: 100 }, ...more });
const allowing = (type: string, spaceId: string): Json => ({
  type: EventType.RoomJoinRules,
  state_key: "",
  content: { join_rule: type, allow: [{ type: "m.room_membership", room_id: spaceId }] },
});

async function spaces(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["space-alice", "space-bob"])) as [Person, Person];
  const top = await space(alice, "Top", { preset: Preset.PublicChat, topic: "All of it" });
  const below = await space(alice, "Below", { preset: Preset.PublicChat });
  const names = new Map<string, string>([
    [top, "Top"],
    [below, "Below"],
  ]);
  const room = async (name: string, parent: string, options: Json, more: Json = {}): Promise<string> => {
    const roomId = await alice.createRoom({ name, ...options });
    names.set(roomId, name);
    await child(alice, parent, roomId, more);
    return roomId;
  };
  const open = await room("Open", top, { preset: Preset.PublicChat }, { suggested: true, order: "a" });
  await child(alice, top, below, { order: "b" });
  const hidden = await room("Hidden", top, { preset: Preset.PrivateChat }, { order: "c" });
  await room("Deep", below, { preset: Preset.PublicChat });
  await room("Deeper", below, { preset: Preset.PublicChat, room_version: "8", initial_state: [allowing(JoinRule.Restricted, top)] }, { suggested: true });
  await bob.sdk.joinRoom(top);
  const root = await bob.room(top);
  await until("bob is in the space", () => root.isSpaceRoom() && membership(bob, top) === "join");

  // How many are joined is told by statistics, which follow behind.
  const named = (rooms: Json[]): Json =>
    rooms.map((each) => [each.name, each.join_rule, each.room_type, each.world_readable, each.guest_can_join, each.children_state.length]);
  await described(alice, top, 6);
  const hierarchy = new RoomHierarchy(root, 2);
  const pages: Json[] = [];
  while (hierarchy.canLoadMore) pages.push(named(await hierarchy.load()));
  const parents = [...hierarchy.backRefs].map(([id, refs]) => [names.get(id), refs.map((ref) => names.get(ref))]);
  const seen = await bob.sdk.getRoomHierarchy(top, 50, 5, false);
  const shallow = await bob.sdk.getRoomHierarchy(top, 50, 1, false);
  const suggested = await bob.sdk.getRoomHierarchy(top, 50, 5, true);
  const own = await alice.sdk.getRoomHierarchy(top, 50, 5, false);
  const stranger = await refusal(bob.sdk.getRoomHierarchy(hidden));
  const summary = await bob.sdk.getRoomSummary(open, [SERVER]);
  // A room that is taken out of the space.
  await alice.sdk.sendStateEvent(top, EventType.SpaceChild, {} as Json, open);
  await until(
    "bob's client sees it go",
    () => Object.keys(root.currentState.getStateEvents(EventType.SpaceChild, open)?.getContent() ?? { via: 1 }).length === 0,
  );
  const fewer = await bob.sdk.getRoomHierarchy(top, 50, 5, false);
  return {
    pages,
    parents,
    suggested: [hierarchy.isSuggested(top, open), hierarchy.isSuggested(top, below), named(suggested.rooms)],
    seen: named(seen.rooms),
    shallow: named(shallow.rooms),
    own: named(own.rooms),
    stranger,
    summary: { ...summary, room_id: names.get(summary.room_id), num_joined_members: undefined },
    fewer: named(fewer.rooms),
  };
}

/** Waits until that many rooms of a space are told with names and join rules: those are statistics, too. */
async function described(person: Person, spaceId: string, count: number): Promise<void> {
  await until(`${count} rooms are described`, async () => {
    const { rooms } = (await person.sdk.getRoomHierarchy(spaceId, 50, 5, false)) as { rooms: Json[] };
    return rooms.length === count && rooms.every((each) => each.name !== undefined && each.join_rule !== undefined);
  });
}

async function knocking(stage: Stage): Promise<Json> {
  const [alice, bob, carol] = (await stage.people(["knock-alice", "knock-bob", "knock-carol"])) as [Person, Person, Person];
  const room = await alice.createRoom({
    name: "Members only",
    initial_state: [{ type: EventType.RoomJoinRules, state_key: "", content: { join_rule: JoinRule.Knock } }],
  });
  const refused = await refusal(bob.sdk.joinRoom(room));
  const knock = async (by: Person, reason: string): Promise<void> => {
    await by.sdk.knockRoom(room, { viaServers: [SERVER], reason });
    await alice.sees(room, by, KnownMembership.Knock);
    await becomes(by, room, KnownMembership.Knock);
  };
  await knock(bob, "I brought cake");
  const asked = alice.sdk.getRoom(room)!.getMember(bob.userId)!.events.member!.getContent()["reason"];
  const shown = bob.sdk.getRoom(room)!.currentState.getStateEvents(EventType.RoomName, "")?.getContent();
  await alice.sdk.invite(room, bob.userId);
  await becomes(bob, room, KnownMembership.Invite);
  await bob.sdk.joinRoom(room);
  await becomes(bob, room, KnownMembership.Join);

  await knock(carol, "me, too");
  await alice.sdk.kick(room, carol.userId, "not today");
  await becomes(carol, room, KnownMembership.Leave);
  await knock(carol, "today?");
  await carol.sdk.leave(room);
  await becomes(carol, room, KnownMembership.Leave);
  await alice.sees(room, carol, KnownMembership.Leave);
  await alice.sdk.ban(room, carol.userId);
  const banned = await refusal(carol.sdk.knockRoom(room, { viaServers: [SERVER] }));
  const open = await alice.createRoom({ preset: Preset.PublicChat });
  return { refused, asked, shown, banned, open: await refusal(carol.sdk.knockRoom(open, { viaServers: [SERVER] })), members: joined(alice, room) };
}

async function restricted(stage: Stage): Promise<Json> {
  const [alice, bob, carol] = (await stage.people(["club-alice", "club-bob", "club-carol"])) as [Person, Person, Person];
  const club = await space(alice, "Club");
  const lounge = await alice.createRoom({ name: "Lounge", initial_state: [allowing(JoinRule.Restricted, club)] });
  const bar = await alice.createRoom({ name: "Bar", initial_state: [allowing("knock_restricted", club)] });
  for (const roomId of [lounge, bar]) await child(alice, club, roomId);
  const outside = [await refusal(bob.sdk.joinRoom(lounge)), await refusal(bob.sdk.joinRoom(bar)), await refusal(bob.sdk.getRoomHierarchy(club))];
  await alice.sdk.invite(club, bob.userId);
  await becomes(bob, club, KnownMembership.Invite);
  const invited = await refusal(bob.sdk.joinRoom(lounge));
  await bob.sdk.joinRoom(club);
  await described(bob, club, 3);
  const listed = (await bob.sdk.getRoomHierarchy(club)).rooms.map(({ name, join_rule }) => [name, join_rule]);
  for (const roomId of [lounge, bar]) {
    await bob.sdk.joinRoom(roomId);
    await becomes(bob, roomId, KnownMembership.Join);
  }
  await alice.sees(lounge, bob, KnownMembership.Join);
  const through = alice.sdk.getRoom(lounge)!.getMember(bob.userId)!.events.member!.getContent()["join_authorised_via_users_server"];
  await carol.sdk.knockRoom(bar, { viaServers: [SERVER] });
  await alice.sees(bar, carol, KnownMembership.Knock);
  const knocked = [await refusal(carol.sdk.knockRoom(lounge, { viaServers: [SERVER] }))];
  // Who leaves the space stays in its rooms, and does not come back.
  await bob.sdk.leave(club);
  await becomes(bob, club, KnownMembership.Leave);
  const stays = membership(bob, lounge);
  await bob.sdk.leave(lounge);
  return { outside, invited, listed, through, knocked, stays, again: await refusal(bob.sdk.joinRoom(lounge)) };
}

async function upgrade(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["upgrade-alice", "upgrade-bob"])) as [Person, Person];
  const old = await alice.roomWith([bob], { name: "Old hall", topic: "Where we meet", room_version: "9", preset: Preset.PublicChat, room_alias_name: "hall" });
  await bob.sdk.setRoomTag(old, "m.favourite", { order: 0.5 });
  await alice.sdk.setPowerLevel(old, alice.userId, 100);
  const recommended = await alice.sdk.getRoom(old)!.getRecommendedVersion();
  const refused = await refusal(bob.sdk.upgradeRoom(old, "10"));
  const odd = await refusal(alice.sdk.upgradeRoom(old, "no version"));
  const { replacement_room } = await alice.sdk.upgradeRoom(old, "10");
  await until(
    "bob sees the tombstone",
    () => bob.sdk.getRoom(old)!.currentState.getStateEvents(EventType.RoomTombstone, "")?.getContent()["replacement_room"] === replacement_room,
  );
  await bob.sdk.joinRoom(replacement_room, { viaServers: [SERVER] });
  const next = await bob.room(replacement_room);
  await becomes(bob, replacement_room, KnownMembership.Join);
  await alice.sees(replacement_room, bob, KnownMembership.Join);
  await until("the new room is bob's favourite", () => next.tags["m.favourite"] !== undefined);
  assert.equal(next.findPredecessor()?.roomId, old);
  const silent = await refusal(bob.says(old, "is anybody here?"));
  const moved = await bob.sdk.getRoomIdForAlias(`#hall:${SERVER}`);
  const upgraded = bob.sdk.getRoomUpgradeHistory(old, true).map(({ roomId }) => (roomId === old ? "old" : roomId === replacement_room ? "new" : roomId));
  await alice.says(replacement_room, "welcome");
  await bob.hears("welcome");
  return {
    recommended: [recommended.version, recommended.needsUpgrade],
    refused,
    odd,
    version: next.getVersion(),
    name: [next.name, next.currentState.getStateEvents(EventType.RoomTopic, "")?.getContent()["topic"]],
    predecessor: Object.keys(next.currentState.getStateEvents(EventType.RoomCreate, "")!.getContent()["predecessor"]).sort(),
    rule: [next.getJoinRule(), next.getHistoryVisibility(), next.getMember(alice.userId)!.powerLevel],
    silent,
    moved: moved.room_id === replacement_room,
    upgraded,
    visible: bob.sdk.getVisibleRooms().map(({ name }) => name),
  };
}

async function invites(stage: Stage): Promise<Json> {
  const [alice, bob, pest] = (await stage.people(["invite-alice", "invite-bob", "invite-pest"])) as [Person, Person, Person];
  const room = await alice.createRoom({ name: "For two", topic: "Us" });
  await alice.sdk.invite(room, bob.userId, "do come");
  const invitation = await bob.room(room);
  const shown = [invitation.name, invitation.getDMInviter() ?? null, invitation.getMember(bob.userId)!.events.member!.getContent()["reason"]];
  await bob.sdk.leave(room);
  await alice.sees(room, bob, KnownMembership.Leave);
  await bob.sdk.forget(room, true);
  await alice.sdk.invite(room, bob.userId);
  await becomes(bob, room, KnownMembership.Invite);
  await bob.sdk.joinRoom(room);
  await becomes(bob, room, KnownMembership.Join);

  // Whom bob ignores he does not hear, nor is he invited by them.
  await pest.sdk.setDisplayName("Pest");
  await alice.sdk.invite(room, pest.userId);
  await pest.room(room);
  await pest.sdk.joinRoom(room);
  await bob.sees(room, pest, KnownMembership.Join);
  await bob.sdk.setIgnoredUsers([pest.userId]);
  await until("bob's client knows", () => bob.sdk.isUserIgnored(pest.userId));
  await pest.says(room, "buy this");
  const bait = await pest.createRoom({ name: "Bait", invite: [bob.userId] });
  await alice.says(room, "hello bob");
  await bob.hears("hello bob");
  await alice.hears("buy this");
  const ignored = [bob.heard.includes("buy this"), bob.sdk.getRoom(bait)?.getMyMembership() ?? null];
  await bob.sdk.setIgnoredUsers([]);
  await until("bob forgives", () => bob.sdk.getIgnoredUsers().length === 0);
  await pest.says(room, "sorry");
  await bob.hears("sorry");

  await alice.sdk.setPowerLevel(room, bob.userId, 50);
  await until("bob is a moderator", () => bob.sdk.getRoom(room)!.getMember(bob.userId)!.powerLevel === 50);
  const before = await refusal(bob.sdk.kick(room, alice.userId));
  await bob.sdk.kick(room, pest.userId, "out");
  await becomes(pest, room, KnownMembership.Leave);
  await bob.sdk.ban(room, pest.userId, "and stay out");
  await becomes(pest, room, KnownMembership.Ban);
  const banned = await refusal(alice.sdk.invite(room, pest.userId));
  await bob.sdk.unban(room, pest.userId);
  await alice.sdk.invite(room, pest.userId);
  await becomes(pest, room, KnownMembership.Invite);
  return { shown, ignored, before, banned, members: joined(alice, room) };
}

async function leaving(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["leave-alice", "leave-bob"])) as [Person, Person];
  const room = await alice.roomWith([bob], { name: "Left behind" });
  await alice.says(room, "before");
  await bob.hears("before");
  await bob.sdk.leave(room);
  await becomes(bob, room, KnownMembership.Leave);
  await alice.says(room, "after");
  const late = await stage.person("leave-bob", { deviceId: "LATE", existing: true });
  const gone = late.sdk.getRoom(room);
  const left = await late.sdk.syncLeftRooms();
  const bodies = left.map((each) =>
    each
      .getLiveTimeline()
      .getEvents()
      .flatMap((event) => event.getContent()["body"] ?? []),
  );
  await late.sdk.forget(room, true);
  const forgotten = await refusal(late.sdk.roomState(room));
  // A room that the world may read is read without a join.
  const readable = { type: EventType.RoomHistoryVisibility, state_key: "", content: { history_visibility: "world_readable" } };
  const square = await alice.createRoom({ preset: Preset.PublicChat, visibility: Visibility.Public, name: "Square", initial_state: [readable] });
  await alice.says(square, "for all to read");
  const peeked = await bob.sdk.peekInRoom(square);
  const read = peeked.getLiveTimeline().getEvents().some((event) => event.getContent()["body"] === "for all to read"); // prettier-ignore
  // The SDK follows the room from when its first poll arrives: what is said before that it does not hear.
  await until("bob reads on", async () => {
    await alice.says(square, "and still");
    return peeked
      .getLiveTimeline()
      .getEvents()
      .some((event) => event.getContent()["body"] === "and still");
  });
  bob.sdk.stopPeeking();
  return { gone, bodies, forgotten, read, private: await refusal(bob.sdk.peekInRoom(room)) };
}

const joined = (person: Person, roomId: string): string[] =>
  person.sdk
    .getRoom(roomId)!
    .getJoinedMembers()
    .map(({ userId }) => userId)
    .sort();

/** How people come into rooms, and go. */
export const ROOMS: readonly Scenario[] = [
  { name: "spaces show their rooms to those who may see them", run: spaces },
  { name: "a knock is let in, turned away or withdrawn", run: knocking },
  { name: "restricted rooms let the members of a space in", run: restricted },
  { name: "a room is upgraded and its people move", run: upgrade },
  { name: "invites are declined and taken, pests are ignored, kicked and banned", run: invites },
  { name: "rooms are left and forgotten, and others read without a join", run: leaving },
];

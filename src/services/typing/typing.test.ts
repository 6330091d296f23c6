import assert from "node:assert/strict";
import type { Context } from "../context.ts";
import { noRemoteServers } from "../remote-servers.ts";
import { Notifier } from "../streams/notifier.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { Typing } from "./typing.ts";

describe("typing", () => {
  const ROOM = "!r:test";
  let clock: FakeClock;
  let typing: Typing;
  let notifier: Notifier;
  let sent: [string, boolean][];
  beforeEach(() => {
    clock = new FakeClock();
    notifier = new Notifier(clock);
    sent = [];
    const remote = { ...noRemoteServers, federates: true, sendTyping: (_room: string, user: string, on: boolean) => void sent.push([user, on]) };
    const members = { joinedLocal: () => Promise.resolve(new Set(["@a:test", "@b:test"])) };
    typing = new Typing(clock, { notifier, remote, members } as unknown as Context);
  });
  afterEach(() => typing.close());

  it("begins and ends with a new serial each, and wakes the room", async () => {
    const listener = notifier.listen("@b:test");
    typing.started(ROOM, "@a:test", 30_000);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(await listener.wait(0, new AbortController().signal), true);
    assert.equal(typing.serial, 1);
    assert.deepEqual([...typing.changedRooms([ROOM, "!other:test"], 0)], [[ROOM, ["@a:test"]]]);
    typing.stopped(ROOM, "@a:test");
    assert.deepEqual([...typing.changedRooms([ROOM], 1)], [[ROOM, []]]);
    assert.deepEqual([...typing.changedRooms([ROOM], 2)], []);
    typing.stopped(ROOM, "@a:test");
    assert.equal(typing.serial, 2);
    listener.close();
  });

  it("ends by itself, counted from the last sign", () => {
    typing.started(ROOM, "@a:test", 10_000);
    clock.advance(8_000);
    typing.started(ROOM, "@a:test", 10_000);
    assert.equal(typing.serial, 1, "going on is no change");
    clock.advance(9_000);
    assert.deepEqual(typing.typingIn(ROOM), ["@a:test"]);
    clock.advance(1_000);
    assert.deepEqual(typing.typingIn(ROOM), []);
  });

  it("tells other servers at the begin, each 40 seconds, and at the end", () => {
    typing.started(ROOM, "@a:test", 100_000);
    clock.advance(40_000);
    clock.advance(40_000);
    typing.stopped(ROOM, "@a:test");
    clock.advance(100_000);
    assert.deepEqual(sent, [
      ["@a:test", true],
      ["@a:test", true],
      ["@a:test", true],
      ["@a:test", false],
    ]);
  });

  it("of other servers' users ends after a minute, and is not sent on", () => {
    typing.receivedRemote(ROOM, "@r:remote", true);
    assert.deepEqual(typing.typingIn(ROOM), ["@r:remote"]);
    clock.advance(60_000);
    assert.deepEqual([typing.typingIn(ROOM), sent], [[], []]);
  });

  it("answers tokens of an earlier process, whose serial was higher", () => {
    typing.started(ROOM, "@a:test", 10_000);
    assert.deepEqual([...typing.changedRooms([ROOM], 500)], [[ROOM, ["@a:test"]]]);
  });

  it("forgets rooms in which nobody has typed for ten minutes", () => {
    typing.started(ROOM, "@a:test", 1_000);
    clock.advance(2_000);
    assert.equal(typing.allChanged(0).size, 1);
    clock.advance(600_000);
    clock.advance(600_000);
    assert.equal(typing.allChanged(0).size, 0);
  });
});

import assert from "node:assert/strict";
import type { JsonObject } from "../lib/json.ts";
import { MatrixEvent } from "./event/event.ts";
import { roomVersion } from "./room-versions.ts";
import { clientVisibility, historyVisibility, isVisibleToServer, type ClientVisibilityInput } from "./visibility.ts";

const ME = "@me:hs";
const event = (over: JsonObject = {}): MatrixEvent =>
  new MatrixEvent({ type: "m.room.message", sender: "@a:hs", room_id: "!r:hs", content: {}, ...over }, roomVersion("11")!, "$e");
const see = (visibility: string | undefined, membership: string | undefined, more: Partial<ClientVisibilityInput> = {}): string =>
  clientVisibility({ event: event(), userId: ME, visibility, membership, ...more });

describe("history visibility for clients", () => {
  // Columns: joined, invited, knocked, left, banned, never there. S shown, - hidden.
  for (const [visibility, row, peekingRow] of [
    ["world_readable", "SSSSSS", "SSSSSS"],
    ["shared", "SSSSSS", "S-----"],
    ["invited", "SS----", "SS----"],
    ["joined", "S-----", "S-----"],
    ["nonsense", "SSSSSS", "S-----"],
    [undefined, "SSSSSS", "S-----"],
  ] as const) {
    it(`"${visibility}" shows by membership at the event`, () => {
      const memberships = ["join", "invite", "knock", "leave", "ban", undefined];
      const shown = (peeking: boolean): string => memberships.map((membership) => (see(visibility, membership, { peeking }) === "shown" ? "S" : "-")).join("");
      assert.equal(shown(false), row);
      assert.equal(shown(true), peekingRow);
    });
  }

  it("judges a change of the visibility by the more generous side", () => {
    const change = event({ type: "m.room.history_visibility", state_key: "" });
    assert.equal(see("joined", undefined, { event: change, previousContent: { history_visibility: "shared" } }), "shown");
    assert.equal(see("shared", undefined, { event: change, previousContent: { history_visibility: "joined" } }), "shown");
    assert.equal(see("joined", undefined, { event: change, previousContent: { history_visibility: "invited" } }), "hidden");
    assert.equal(see("joined", undefined, { event: change }), "shown");
  });

  it("judges a change of the own membership by the more entitled side", () => {
    const own = (now: string, before?: string): string =>
      see("joined", now, {
        event: event({ type: "m.room.member", state_key: ME, content: { membership: now } }),
        previousContent: before === undefined ? undefined : { membership: before },
      });
    assert.equal(own("join"), "shown");
    assert.equal(own("leave", "join"), "shown");
    assert.equal(own("ban", "join"), "shown");
    assert.equal(own("leave", "invite"), "shown");
    assert.equal(own("leave", "knock"), "hidden");
    assert.equal(own("ban"), "hidden");
    assert.equal(own("invite"), "hidden");
  });

  it("does not take another's membership for the own", () => {
    assert.equal(see("joined", "leave", { event: event({ type: "m.room.member", state_key: "@x:hs", content: { membership: "join" } }) }), "hidden");
  });

  it("shows what erased users wrote to those who were there, and its redacted form to others", () => {
    assert.equal(see("shared", "join", { senderErased: true }), "shown");
    assert.equal(see("shared", "leave", { senderErased: true }), "redacted");
    assert.equal(see("world_readable", undefined, { senderErased: true }), "redacted");
    assert.equal(see("joined", "leave", { senderErased: true }), "hidden");
  });
});

describe("history visibility for servers", () => {
  const visible = (visibility: string, memberships: (string | undefined)[], senderErased = false): boolean =>
    isVisibleToServer({ visibility, memberships, senderErased });
  it("goes by the memberships of the server's users", () => {
    for (const visibility of ["shared", "world_readable", "nonsense"]) assert.equal(visible(visibility, []), true);
    assert.equal(visible("joined", ["leave", "join"]), true);
    assert.equal(visible("joined", ["invite"]), false);
    assert.equal(visible("invited", ["invite"]), true);
    assert.equal(visible("invited", ["leave", "ban", "knock", undefined]), false);
    assert.equal(visible("shared", ["join"], true), false);
  });
});

describe("historyVisibility", () => {
  it("takes what is unknown for shared", () => {
    for (const value of [undefined, null, 5, "x", {}]) assert.equal(historyVisibility(value), "shared");
    assert.equal(historyVisibility("joined"), "joined");
  });
});

import assert from "node:assert/strict";
import { after, before, describe, it } from "mocha";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const C = "/_matrix/client/v3";
const STABLE = "use_state_after";
const UNSTABLE = "org.matrix.msc4222.use_state_after";
interface Room {
  state?: { events: { type: string }[] };
  state_after?: { events: { type: string }[] };
  "org.matrix.msc4222.state_after"?: { events: { type: string }[] };
}

describe("features that an admin may turn on for single users", () => {
  let server: TestServer;
  let admin: TestUser;
  let alice: TestUser;
  let roomId: string;
  before(async function () {
    this.timeout(60_000);
    server = await startTestServer({ config: { experimental_features: { msc3575_enabled: false } } });
    [admin, alice] = [await server.register("root", { admin: true }), await server.register("alice")];
    roomId = await server.as(alice).createRoom({ preset: "public_chat" });
  });
  after(() => server.close());

  const turn = (features: object) => server.as(admin).put(`/_synapse/admin/v1/experimental_features/${alice.userId}`, { features }).expect(200);
  const sync = async (query: string, since?: string): Promise<{ since: string; room: Room }> => {
    const { body } = await server
      .as(alice)
      .get(`${C}/sync?set_presence=offline&${query}${since === undefined ? "" : `&since=${since}`}`)
      .expect(200);
    return { since: body.next_batch, room: body.rooms?.join?.[roomId] ?? {} };
  };
  const types = (part: { events: { type: string }[] } | undefined): string[] | undefined => part?.events.map(({ type }) => type);
  const newTopic = async (): Promise<string> => {
    const { since } = await sync("");
    await server
      .as(alice)
      .put(`${C}/rooms/${encodeURIComponent(roomId)}/state/m.room.topic/`, { topic: since })
      .expect(200);
    return since;
  };

  it("/sync gives the state after the timeline in place of that before it, by the specification's name to everybody", async () => {
    const since = await newTopic();
    const before = (await sync("", since)).room;
    assert.deepEqual([types(before.state), before.state_after], [[], undefined]);
    const after = (await sync(`${STABLE}=true`, since)).room;
    assert.deepEqual([after.state, types(after.state_after)], [undefined, ["m.room.topic"]]);
    const whole = types((await sync(`${STABLE}=true`)).room.state_after)!;
    assert.ok(whole.includes("m.room.create") && whole.includes("m.room.topic"), String(whole));
  });

  it("/sync does so by the name of MSC4222 for those who have the feature", async () => {
    const since = await newTopic();
    assert.deepEqual(types((await sync(`${UNSTABLE}=true`, since)).room.state), []);
    await turn({ msc4222: true });
    const { state, "org.matrix.msc4222.state_after": after } = (await sync(`${UNSTABLE}=true`, since)).room;
    assert.deepEqual([state, types(after)], [undefined, ["m.room.topic"]]);
    await turn({ msc4222: false });
    assert.deepEqual(types((await sync(`${UNSTABLE}=true`, since)).room.state), []);
  });

  it("sliding sync is unknown to those who do not have it where it is off", async () => {
    const slide = () => server.as(alice).post("/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0", { lists: {} });
    assert.equal((await slide().expect(404)).body.errcode, "M_UNRECOGNIZED");
    await turn({ msc3575: true });
    await slide().expect(200);
    assert.equal((await server.as(alice).get("/_matrix/client/versions")).body.unstable_features["org.matrix.simplified_msc3575"], true);
    assert.equal((await server.anonymous.get("/_matrix/client/versions")).body.unstable_features["org.matrix.simplified_msc3575"], false);
  });
});

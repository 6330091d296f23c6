import assert from "node:assert/strict";
import { after, before, describe, it } from "mocha";
import { startTestServer, type TestServer, type TestUser } from "../../../testing/server.ts";

const C = "/_matrix/client/v3";
const id = encodeURIComponent;

describe("redactions beyond the specification", () => {
  let server: TestServer;
  let alice: TestUser;
  before(async function () {
    this.timeout(60_000);
    server = await startTestServer({ config: { experimental_features: { msc3912_enabled: true } } });
    alice = await server.register("alice");
  });
  after(() => server.close());

  let txn = 0;
  const createRoom = (version: string): Promise<string> => server.as(alice).createRoom({ preset: "public_chat", room_version: version });
  const send = (roomId: string, type: string, content: object): Promise<string> => server.as(alice).send(roomId, content, type);
  const isRedacted = async (eventId: string): Promise<boolean> => (await server.ctx.events.one(eventId))?.redactedBecause !== undefined;

  for (const version of ["10", "11"]) {
    it(`take along what relates to the event in the ways named (MSC3912), room version ${version}`, async () => {
      const roomId = await createRoom(version);
      const root = await send(roomId, "m.room.message", { msgtype: "m.text", body: "root" });
      const relation = (rel_type: string, more: object = {}): object => ({ "m.relates_to": { rel_type, event_id: root, ...more } });
      const reaction = await send(roomId, "m.reaction", relation("m.annotation", { key: "👍" }));
      const edit = await send(roomId, "m.room.message", {
        msgtype: "m.text",
        body: "* x",
        ...relation("m.replace"),
        "m.new_content": { body: "x", msgtype: "m.text" },
      });
      const reply = await send(roomId, "m.room.message", { msgtype: "m.text", body: "in the thread", ...relation("m.thread") });
      const { body } = await server
        .as(alice)
        .put(`${C}/rooms/${id(roomId)}/redact/${id(root)}/r${++txn}`, { reason: "gone", "org.matrix.msc3912.with_relations": ["m.annotation", "m.replace"] })
        .expect(200);
      assert.equal((await server.ctx.events.one(body.event_id))!.content["org.matrix.msc3912.with_relations"], undefined);
      for (let round = 0; round < 200 && !((await isRedacted(reaction)) && (await isRedacted(edit))); round++)
        await new Promise((resolve) => setTimeout(resolve, 100));
      assert.deepEqual([await isRedacted(root), await isRedacted(reaction), await isRedacted(edit), await isRedacted(reply)], [true, true, true, false]);
      const because = (await server.ctx.events.one(reaction))!.redactedBecause!;
      assert.deepEqual([because.redacts, because.content.reason], [reaction, "gone"]);
    });
  }

  it("may be sent as any event, with what they redact in the content, in all room versions (MSC4169)", async () => {
    for (const version of ["10", "11"]) {
      const roomId = await createRoom(version);
      const target = await send(roomId, "m.room.message", { msgtype: "m.text", body: "secret" });
      await send(roomId, "m.room.redaction", { redacts: target, reason: "oops" });
      assert.equal(await isRedacted(target), true, version);
    }
  });
});

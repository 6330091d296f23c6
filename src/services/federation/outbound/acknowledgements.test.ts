import assert from "node:assert/strict";
import { Acknowledgements } from "./acknowledgements.ts";

describe("how far servers have received events", () => {
  it("is written for all servers together while a write is under way, and a write that fails is known to those alone who asked for it", async () => {
    const writes: { end: (error?: Error) => void }[] = [];
    const context = { transaction: () => new Promise<void>((resolve, reject) => writes.push({ end: (error) => (error ? reject(error) : resolve()) })) };
    const acknowledgements = new Acknowledgements(context as never);
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

    const first = acknowledgements.note("a", 1);
    await turn();
    assert.equal(writes.length, 1);
    const later = ["b", "c", "d"].map((server) => acknowledgements.note(server, 1));
    await turn();
    assert.equal(writes.length, 1);
    writes[0]!.end(new Error("gone"));
    await assert.rejects(first, /gone/);
    await turn();
    assert.equal(writes.length, 2);
    writes[1]!.end();
    await Promise.all(later);
    const last = acknowledgements.note("a", 2);
    await turn();
    writes[2]!.end();
    await last;
  });
});

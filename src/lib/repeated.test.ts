import assert from "node:assert/strict";
import { Repeated } from "./repeated.ts";

describe("repeated work", () => {
  it("runs once at a time, and once more for all that changed meanwhile", async () => {
    let atOnce = 0;
    let runs = 0;
    const repeated = new Repeated(
      async () => {
        runs++;
        assert.equal(++atOnce, 1);
        await Promise.resolve();
        atOnce--;
      },
      (error) => assert.ifError(error),
    );
    repeated.poke();
    repeated.poke();
    repeated.poke();
    await repeated.settled();
    assert.equal(runs, 2);
    repeated.poke();
    await repeated.settled();
    assert.equal(runs, 3);
  });

  it("goes on after a failure when it is poked", async () => {
    const failures: unknown[] = [];
    let isBroken = true;
    const repeated = new Repeated(
      async () => {
        await Promise.resolve();
        if (isBroken) throw new Error("broken");
      },
      (error) => failures.push(error),
    );
    repeated.poke();
    await repeated.settled();
    isBroken = false;
    repeated.poke();
    await repeated.settled();
    assert.equal(failures.length, 1);
  });

  it("waits for what is under way when it is closed, and begins nothing after that", async () => {
    let runs = 0;
    let go = (): void => {};
    const repeated = new Repeated(
      () => {
        runs++;
        return new Promise((resolve) => (go = resolve));
      },
      () => {},
    );
    repeated.poke();
    repeated.poke();
    const closed = repeated.close();
    go();
    await closed;
    repeated.poke();
    await repeated.settled();
    assert.equal(runs, 1);
  });
});

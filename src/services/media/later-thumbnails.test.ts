import assert from "node:assert/strict";
import { beforeEach, describe, it } from "mocha";
import { LaterThumbnails } from "./later-thumbnails.ts";

describe("thumbnails that are made later", () => {
  let later: LaterThumbnails;
  /** Pictures in the order in which they were begun, and what ends the work on them. */
  let begun: string[];
  let end: Map<string, () => void>;
  const make = (mediaId: string) => () =>
    new Promise<void>((resolve) => {
      begun.push(mediaId);
      end.set(mediaId, resolve);
    });
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  beforeEach(() => {
    later = new LaterThumbnails();
    begun = [];
    end = new Map();
  });

  it("are made picture by picture, and nobody waits for them but who stops", async () => {
    for (const id of ["a", "b", "c"]) await later.add(id, make(id));
    assert.deepEqual(begun, ["a"]);
    let isSettled = false;
    void later.settled().then(() => (isSettled = true));
    for (const id of ["a", "b", "c"]) {
      assert.equal(isSettled, false);
      end.get(id)!();
      await turn();
    }
    assert.deepEqual(begun, ["a", "b", "c"]);
    assert.equal(isSettled, true);
  });

  it("come first when they are asked for, and are made once", async () => {
    for (const id of ["a", "b", "c"]) await later.add(id, make(id));
    const asked = [later.ready("c", make("c")), later.ready("c", make("c"))];
    assert.deepEqual(begun, ["a", "c"]);
    end.get("c")!();
    await Promise.all(asked);
    await later.ready("c", make("c"));
    end.get("a")!();
    await turn();
    assert.deepEqual(begun, ["a", "c", "b"]);
  });

  it("are waited for where a hundred pictures wait already", async () => {
    for (let index = 0; index < 101; index++) await later.add(`${index}`, make(`${index}`));
    let isOver = false;
    void later.add("one more", make("one more")).then(() => (isOver = true));
    await turn();
    assert.deepEqual([begun, isOver], [["0", "one more"], false]);
    end.get("one more")!();
    await turn();
    assert.equal(isOver, true);
  });
});

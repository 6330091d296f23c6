import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { endpoint } from "./endpoint.ts";
import { Router } from "./router.ts";

const make = (method: "GET" | "PUT", path: string) => endpoint({ servlet: path, method, path, auth: "none", handle: () => ({}) });

describe("router", () => {
  const router = new Router([
    make("GET", "/_matrix/client/(r0|v3)/rooms/:roomId/state/:eventType/"),
    make("GET", "/_matrix/client/(r0|v3)/rooms/:roomId/state/:eventType/:stateKey"),
    make("PUT", "/_matrix/client/v3/rooms/:roomId/:action=join|leave"),
    make("GET", "/_matrix/client/v3/rooms/:roomId/messages"),
    make("GET", "/files/*rest"),
  ]);
  const params = (method: string, path: string): unknown => {
    const match = router.find(method, path);
    return typeof match === "string" ? match : match.params;
  };

  it("decodes parameters, also empty state keys and encoded slashes", () => {
    assert.deepEqual(params("GET", "/_matrix/client/r0/rooms/!a%3Ab/state/m.x/"), { roomId: "!a:b", eventType: "m.x" });
    assert.deepEqual(params("GET", "/_matrix/client/v3/rooms/!a/state/m.x/a%2Fb"), { roomId: "!a", eventType: "m.x", stateKey: "a/b" });
    assert.deepEqual(params("GET", "/_matrix/client/v3/rooms/%zz/messages"), { roomId: "%zz" });
  });

  it("takes enumerated parameters as literals", () => {
    assert.deepEqual(params("PUT", "/_matrix/client/v3/rooms/!a/leave"), { roomId: "!a", action: "leave" });
    assert.equal(params("PUT", "/_matrix/client/v3/rooms/!a/dance"), "not found");
  });

  it("tells an unknown path from a wrong method", () => {
    assert.equal(params("PUT", "/_matrix/client/v3/rooms/!a/messages"), "wrong method");
    assert.equal(params("GET", "/nowhere"), "not found");
  });

  it("advisories 10 and 11: nothing before, after or within a path is passed over", () => {
    const path = "/_matrix/client/v3/rooms/!a/messages";
    for (const junk of [
      `/junk${path}`,
      `${path}/`,
      `${path}/x`,
      `${path}x`,
      path.replace("/v3", "//v3"),
      path.replace("/v3", "/./v3"),
      path.replace("!a", ".."),
      `/${path}`,
      path.replace("/v3", "/%2e/v3"),
    ]) {
      assert.equal(params("GET", junk), "not found", junk);
    }
  });

  it("refuses two endpoints for one path", () => {
    assert.throws(() => new Router([make("GET", "/a/:b"), make("GET", "/a/:c")]), /Two endpoints/);
  });
});

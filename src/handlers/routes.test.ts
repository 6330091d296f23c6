import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, it } from "mocha";
import { expandPath } from "./http/endpoint.ts";
import { routes } from "./routes.ts";

/** The list lies in the source tree, whether this runs from there or from the build. */
function synapsesRoutes(): string[] {
  const here = path.dirname(fileURLToPath(import.meta.url));
  const folder = here.replace(`${path.sep}dist${path.sep}src${path.sep}`, `${path.sep}src${path.sep}`);
  return readFileSync(path.join(folder, "testdata/routes.txt"), "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .flatMap(expandPath);
}

/** Parameters that stand for a few literals become those; all others are alike. */
function concrete(path: string): string[] {
  const route = path.replace(/:\w+=([^/|]+)\/\*$/, "$1/{}");
  const choice = /\/:\w+=([^/*]+)(?=\/|$)/.exec(route);
  if (choice !== null) return choice[1]!.split("|").flatMap((literal) => concrete(route.replace(choice[0], `/${literal}`)));
  return [route.replace(/[:*]\w+/g, "{}").replace(/\/$/, "")];
}

describe("the routes", () => {
  it("are all those that Synapse has", () => {
    const ours = new Set(routes.flatMap(({ methods, paths }) => methods.flatMap((method) => paths.flatMap((each) => concrete(`${method} ${each}`)))));
    // A parameter of ours takes the place of literals of Synapse's, and the other way round.
    const patterns = [...ours]
      .filter((route) => route.includes("{}"))
      .map((route) => new RegExp(`^${route.replace(/[.|()]/g, "\\$&").replaceAll("{}", "[^/]+")}$`));
    const missing = synapsesRoutes().filter((route) => {
      const plain = route.replace(/\/$/, "");
      return !ours.has(plain) && !patterns.some((pattern) => pattern.test(plain));
    });
    assert.deepEqual(missing, []);
  });

  it("are served by one endpoint each", () => {
    const all = routes.flatMap(({ methods, paths }) => methods.flatMap((method) => paths.map((each) => `${method} ${each.replace(/:\w+/g, ":")}`)));
    assert.deepEqual(
      all.filter((route, index) => all.indexOf(route) !== index),
      [],
    );
  });
});

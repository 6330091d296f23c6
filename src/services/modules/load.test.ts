import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, it } from "mocha";
import { type Logger, silentLogger } from "../../lib/log.ts";
import { testConfig } from "../../testing/config.ts";
import { startTestServer } from "../../testing/server.ts";
import { findJavaScript, loadJavaScript, makeModule, ModuleMissing } from "./find-module.ts";
import { requireModules } from "./load.ts";

describe("modules of the configuration", function () {
  this.timeout(60_000);

  let folder: string;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "myelin-modules-"));
    const write = async (file: string, text: string): Promise<void> => {
      await mkdir(path.dirname(path.join(folder, file)), { recursive: true });
      await writeFile(path.join(folder, file), text);
    };
    await write(
      "class.mjs",
      "export default class { static parse_config(c) { return { ...c, parsed: true }; } constructor(config, api) { this.got = [config, api]; } }",
    );
    await write("functions.mjs", "export const one = (config, api) => ['one', config, api]; export async function other(config) { return ['other', config]; }");
    await write("common.cjs", "module.exports = (config) => ['common', config];");
    await write("node_modules/plain-module/package.json", '{"name":"plain-module","main":"index.js"}');
    await write("node_modules/plain-module/index.js", "module.exports = class { constructor(config) { this.config = config; } };");
    await write("node_modules/@scope/esm/package.json", '{"name":"@scope/esm","type":"module","exports":{".":{"import":"./main.js"}}}');
    await write("node_modules/@scope/esm/main.js", "export class Rules { constructor(config) { this.config = config; } }");
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const make = async (name: string): Promise<unknown> => await makeModule(await loadJavaScript(name, folder), { a: 1 }, "api");

  it("are files: classes with parse_config, functions, by default or by name", async () => {
    assert.deepEqual({ ...((await make("./class.mjs")) as object) }, { got: [{ a: 1, parsed: true }, "api"] });
    assert.deepEqual(await make("./functions.mjs#one"), ["one", { a: 1 }, "api"]);
    assert.deepEqual(await make(`${folder}/functions.mjs#other`), ["other", { a: 1 }]);
    assert.deepEqual(await make("./common.cjs"), ["common", { a: 1 }]);
    await assert.rejects(make("./functions.mjs"), /exports no class or function by default/);
  });

  it("are packages that are installed there", async () => {
    assert.deepEqual({ ...((await make("plain-module")) as object) }, { config: { a: 1 } });
    assert.deepEqual({ ...((await make("@scope/esm")) as object) }, { config: { a: 1 } });
    assert.deepEqual({ ...((await make("@scope/esm#Rules")) as object) }, { config: { a: 1 } });
  });

  it("are nothing that is not there, and no part of node", async () => {
    for (const name of ["./missing.mjs", "not-installed", "python_module.ClassName", "fs", "node:fs", "../../etc/passwd\0"])
      assert.equal(findJavaScript(name, folder), undefined, name);
    await assert.rejects(make("python_module.ClassName"), ModuleMissing);
  });

  it("that there are none of stop the start, all of them named", async () => {
    const config = testConfig({
      modules: [{ module: "some_python.Module", config: {} }, { module: "mjolnir.Module" }],
      spam_checker: { module: "other_python.Checker" },
      media_storage_providers: [{ module: "third_python.Storage", config: {} }],
    });
    const names =
      /some_python\.Module \(modules\[0\]\), other_python\.Checker \(spam_checker\), third_python\.Storage \(media_storage_providers\[0\]\).*--allow-missing-modules/s;
    assert.throws(() => requireModules({ config, log: silentLogger, allowMissing: false }), names);
    await assert.rejects(startTestServer({ config: { modules: [{ module: "some_python.Module" }] } }), /some_python\.Module/);
  });

  it("may be missing where the admin says so; the log names them", async () => {
    const lines: string[] = [];
    const log: Logger = { ...silentLogger, warn: (line) => void lines.push(line), named: () => log };
    const config = { modules: [{ module: "some_python.Module" }], media_storage_providers: [{ module: "third_python.Storage", config: {} }] };
    const server = await startTestServer({ config, log, allowMissingModules: true });
    await server.close();
    for (const name of ["some_python.Module", "third_python.Storage"])
      assert.ok(
        lines.some((line) => line.includes(`Starting without the module ${name}`)),
        name,
      );
  });

  it("that Myelin stands in for say which of their options they do not know", async () => {
    const lines: string[] = [];
    const log: Logger = { ...silentLogger, warn: (line) => void lines.push(line), named: () => log };
    const server = await startTestServer({ config: { modules: [{ module: "mjolnir.Module", config: { block_invites: true, block_everything: true } }] }, log });
    await server.close();
    assert.deepEqual(
      lines.filter((line) => line.includes("modules[0]")),
      ["Configuration: modules[0].config.block_everything is unknown and has no effect"],
    );
  });

  it("that fail stop the start with their words", async () => {
    await writeFile(path.join(folder, "fails.mjs"), "export default () => { throw new Error('no key given'); };");
    await assert.rejects(
      startTestServer({ config: { modules: [{ module: `${folder}/fails.mjs` }] } }),
      /modules\[0\]: the module .*fails\.mjs failed: no key given/,
    );
  });
});

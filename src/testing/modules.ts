import type { ModuleApi } from "../services/modules/api.ts";

/** What a test's module does, by its name in the configuration. */
const makers = new Map<string, (config: never, api: ModuleApi) => unknown>();
let count = 0;

/**
 * Makes `fn` a module; returns what stands for it in `module:`. The file that is loaded looks it up here, since a configuration can name
 * only files.
 */
export function testModule(fn: (config: never, api: ModuleApi) => unknown): string {
  const name = `maker${count++}`;
  makers.set(name, fn);
  (globalThis as { myelinTestModules?: typeof makers }).myelinTestModules = makers;
  return `${new URL("./testdata/module.mjs", import.meta.url).pathname}#${name}`;
}

import { existsSync, readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

/** A class `(config, api)`, or a function that does as much; `parse_config` reads the config first. */
export type ModuleMaker = ((config: unknown, api: unknown) => unknown) & { readonly parse_config?: (config: unknown) => unknown };

/** Nothing answers to the name. */
export class ModuleMissing extends Error {}

/**
 * Loads the JavaScript module of that name: `./path/to/module.js` (from the folder that relative paths of the configuration count from) or
 * the name of a package that is installed there, with `#Name` where it is not the default export.
 * @throws ModuleMissing where there is none; what the module itself throws
 */
export async function loadJavaScript(name: string, folder: string): Promise<ModuleMaker> {
  const [, exported] = splitName(name);
  const file = findJavaScript(name, folder);
  if (file === undefined) throw new ModuleMissing(name);
  const loaded = (await import(pathToFileURL(file).href)) as Record<string, unknown>;
  const functions = Object.values(loaded).filter((value) => typeof value === "function");
  const fallback = typeof loaded["default"] === "function" ? loaded["default"] : functions.length === 1 ? functions[0] : undefined;
  const maker = exported === undefined ? fallback : (loaded[exported] ?? (loaded["default"] as Record<string, unknown> | undefined)?.[exported]);
  if (typeof maker !== "function") throw new Error(`${file} exports no class or function ${exported ?? "by default"}`);
  return maker as ModuleMaker;
}

/** The file of the module; undefined where there is none. */
export function findJavaScript(name: string, folder: string): string | undefined {
  const [specifier] = splitName(name);
  return isPath(specifier) ? fileOf(specifier, folder) : packageFile(specifier, folder);
}

/** Makes the module: `new` for classes, a call for functions. */
export async function makeModule(maker: ModuleMaker, config: unknown, api: unknown): Promise<unknown> {
  const parsed = typeof maker.parse_config === "function" ? await maker.parse_config(config) : config;
  const isClass = /^class\b/.test(Function.prototype.toString.call(maker));
  return isClass ? new (maker as unknown as new (config: unknown, api: unknown) => object)(parsed, api) : await maker(parsed, api);
}

function splitName(name: string): [specifier: string, exported: string | undefined] {
  const at = name.lastIndexOf("#");
  return at <= 0 ? [name, undefined] : [name.slice(0, at), name.slice(at + 1)];
}

const isPath = (name: string): boolean => /^\.{0,2}\//.test(name);

function fileOf(specifier: string, folder: string): string | undefined {
  const file = path.resolve(folder, specifier);
  return existsSync(file) && statSync(file).isFile() ? file : undefined;
}

/** The file that `import` of the package takes, looked for in the `node_modules` of the folder and of those above it. */
function packageFile(name: string, folder: string): string | undefined {
  if (!/^(?:@[\w.-]+\/)?[\w.-]+(?:\/[\w./-]+)?$/.test(name)) return undefined;
  const require = createRequire(path.join(folder, "homeserver.yaml"));
  try {
    const file = require.resolve(name);
    return path.isAbsolute(file) ? file : undefined;
  } catch (error) {
    // Packages for `import` alone.
    if ((error as NodeJS.ErrnoException).code !== "ERR_PACKAGE_PATH_NOT_EXPORTED") return undefined;
  }
  for (const place of require.resolve.paths(name) ?? []) {
    const manifest = path.join(place, name, "package.json");
    if (!existsSync(manifest)) continue;
    const { exports } = JSON.parse(readFileSync(manifest, "utf8")) as { exports?: unknown };
    const entry = entryOf((exports as Record<string, unknown> | undefined)?.["."] ?? exports);
    return entry === undefined ? undefined : path.join(place, name, entry);
  }
  return undefined;
}

function entryOf(exports: unknown): string | undefined {
  if (typeof exports === "string") return exports;
  if (typeof exports !== "object" || exports === null) return undefined;
  const { import: forImport, node, default: otherwise } = exports as Record<string, unknown>;
  return entryOf(node) ?? entryOf(forImport) ?? entryOf(otherwise);
}

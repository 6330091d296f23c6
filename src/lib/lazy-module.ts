import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

/**
 * A package that is loaded when it is first used: an idle server does not hold image decoders and tables of phone numbers in memory.
 * `type` it with the package's own types: `lazyModule<typeof import("sharp")>("sharp")`.
 */
export function lazyModule<T>(name: string): () => T {
  let loaded: T | undefined;
  return () => (loaded ??= require(name) as T);
}

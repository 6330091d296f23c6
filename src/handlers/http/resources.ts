import type { Listener, ResourceName } from "../../config/listeners.ts";

const PREFIXES: readonly (readonly [string, ResourceName])[] = [
  ["/health", "health"],
  ["/_synapse/metrics", "metrics"],
  ["/metrics", "metrics"],
  ["/_matrix/federation/v1/openid/", "openid"],
  ["/_matrix/federation/", "federation"],
  ["/_matrix/key/", "keys"],
  ["/_matrix/media/", "media"],
  ["/_matrix/client/v1/media/", "media"],
  ["/_matrix/consent", "consent"],
  ["/_matrix/static", "static"],
  ["/.well-known/matrix/server", "client"],
];

/** The resource name of a path, as in `listeners[].resources[].names`. */
export function resourceOf(path: string): ResourceName {
  return PREFIXES.find(([prefix]) => path.startsWith(prefix))?.[1] ?? "client";
}

/**
 * The resources that a listener serves. As in Synapse: client brings media, keys, static pages; federation brings media and keys; every
 * listener has /health. Where Synapse's workers reach the main process, those of Myelin do, which pass on requests of all kinds.
 */
export function resourcesOf(listener: Listener): ReadonlySet<ResourceName> {
  const names = new Set(listener.type === "metrics" ? (["metrics", "health"] as const) : listener.resources.flatMap((resource) => resource.names));
  if (names.has("replication")) for (const name of ["client", "federation"] as const) names.add(name);
  if (names.has("client")) for (const name of ["media", "static", "consent", "openid"] as const) names.add(name);
  if (names.has("federation")) for (const name of ["keys", "media", "openid"] as const) names.add(name);
  names.add("health");
  return names;
}

/** True for the listener of the processes that pass requests on, who alone may come there. */
export const isForWorkers = (listener: Listener): boolean => listener.resources.some(({ names }) => names.includes("replication"));

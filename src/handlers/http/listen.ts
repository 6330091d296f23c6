import type { Listener } from "../../config/listeners.ts";
import type { Context } from "../../services/context.ts";
import { createApp } from "./app.ts";
import type { Endpoint } from "./endpoint.ts";
import { isForWorkers, resourceOf, resourcesOf } from "./resources.ts";
import { type OpenListeners, openSockets, type TlsFiles } from "./sockets.ts";

/** Binds every configured listener and serves the endpoints of its resources. @throws Error with the address that could not be bound */
export async function openListeners(
  ctx: Context,
  listeners: readonly Listener[],
  endpoints: readonly Endpoint[],
  tls: TlsFiles | undefined,
): Promise<OpenListeners> {
  const stopping = new AbortController();
  const served = listeners.filter(({ type }) => type !== "manhole");
  const apps = served.map((listener) => {
    const forWorkers = isForWorkers(listener);
    const app = createApp(ctx, {
      endpoints: endpointsOf(listener, endpoints),
      trustForwarded: listener.xForwarded || forWorkers,
      modulePaths: listener.type === "metrics" ? "none" : forWorkers ? "all" : listeners.indexOf(listener),
      relaySecret: forWorkers ? ctx.config.workers.replicationSecret : undefined,
      siteTag: listener.siteTag,
      tls: listener.tls,
      stopping: stopping.signal,
    });
    return [listener, app] as const;
  });
  return await openSockets(apps, { clock: ctx.clock, tls, stopping });
}

/** The endpoints that the resources of a listener stand for. */
function endpointsOf(listener: Listener, endpoints: readonly Endpoint[]): Endpoint[] {
  const names = resourcesOf(listener);
  return endpoints.flatMap((endpoint) => {
    const paths = endpoint.paths.filter((path) => names.has(resourceOf(path)));
    return paths.length === 0 ? [] : [{ ...endpoint, paths }];
  });
}

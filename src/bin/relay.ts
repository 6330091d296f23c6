import type { IncomingMessage, ServerResponse } from "node:http";
import type { Config } from "../config/config.ts";
import type { Listener } from "../config/listeners.ts";
import { MAIN_INSTANCE } from "../config/sections/workers.ts";
import { clientAddress } from "../handlers/http/app.ts";
import { resourceOf, resourcesOf } from "../handlers/http/resources.ts";
import { type OpenListeners, openSockets } from "../handlers/http/sockets.ts";
import { systemClock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { MainProcess } from "../outbound/main-process.ts";

const ANYONE = { "Access-Control-Allow-Origin": "*", "Content-Type": "application/json" } as const;

/**
 * What a process started on a worker's configuration does: it listens where Synapse's worker did, and passes everything on to the main
 * process, which has all the duties. So reverse proxies and service units stay as they are.
 */
export async function openRelay(config: Config, log: Logger): Promise<OpenListeners> {
  const own = log.named("synapse.app.generic_worker");
  const { instanceMap, listeners, replicationSecret, instanceName } = config.workers;
  const main = new MainProcess(instanceMap[MAIN_INSTANCE]!, replicationSecret);
  const served = listeners.filter(({ type }) => type === "http");
  if (served.length === 0) own.info(`Nothing is left to do for ${instanceName}: the main process does its work. This process only waits to be stopped`);
  const sockets = await openSockets(
    served.map((listener) => [listener, relayOf(listener, main, own)]),
    { clock: systemClock, tls: config.tls.files, stopping: new AbortController() },
  );
  return {
    ...sockets,
    async close() {
      await sockets.close();
      main.close();
    },
  };
}

function relayOf(listener: Listener, main: MainProcess, log: Logger): (req: IncomingMessage, res: ServerResponse) => void {
  const resources = resourcesOf(listener);
  return (req, res) => {
    const path = (req.url ?? "/").split("?", 1)[0]!;
    if (!resources.has(resourceOf(path))) {
      res.writeHead(404, ANYONE).end('{"errcode":"M_UNRECOGNIZED","error":"Unrecognized request"}');
      return;
    }
    main.forward(req, res, { address: clientAddress(req, listener.xForwarded), tls: listener.tls }).catch((error: unknown) => {
      if (res.destroyed) return;
      log.warn("A request could not be passed on to the main process", { error });
      if (res.headersSent) res.destroy();
      else res.writeHead(503, { ...ANYONE, "Retry-After": "2" }).end('{"errcode":"M_UNKNOWN","error":"The main process does not answer; try again"}');
    });
  };
}

import { DestinationDenied, DestinationUnavailable, RemoteError } from "../../outbound/federation/client.ts";
import { MatrixError } from "../../protocol/errors.ts";
import type { Context } from "../context.ts";

/** Longest part of another server's message that a client is shown. */
const MAX_MESSAGE = 1_000;

/**
 * Another server's refusal as a local client may see it: never a 401 and never M_UNKNOWN_TOKEN, which would log the client out, and no further
 * fields (GHSA-95fh-hv8c-chvq).
 */
export function relayed(error: RemoteError): MatrixError {
  // Its failure is not ours.
  const status = error.status >= 500 ? 502 : error.status === 401 || error.status < 400 ? 400 : error.status;
  const errcode = /^[A-Z0-9_.a-z]{1,100}$/.test(error.errcode) && !LOGS_OUT.has(error.errcode) ? error.errcode : "M_UNKNOWN";
  return new MatrixError(status, errcode, error.remoteMessage.slice(0, MAX_MESSAGE) || "The other server refused");
}

const LOGS_OUT: ReadonlySet<string> = new Set(["M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", "M_USER_DEACTIVATED", "M_USER_LOCKED"]);

/** What another server said makes no sense: the next one may do better. */
export class BadAnswer extends Error {
  override name = "BadAnswer";
}

export interface AskOptions {
  /** Refusals (4xx) after which another server is asked all the same. */
  readonly failoverErrcodes?: readonly string[];
}

/**
 * The answer of the first of the servers that gives one. Servers that cannot be reached, stumble or talk nonsense are passed over; a refusal
 * is final.
 * @throws MatrixError the refusal; 502 when no server answers
 */
export async function askServers<T>(
  ctx: Pick<Context, "config" | "log">,
  description: string,
  servers: readonly string[],
  ask: (server: string) => Promise<T>,
  options: AskOptions = {},
): Promise<T> {
  const others = [...new Set(servers)].filter((server) => server !== ctx.config.server.serverName);
  if (others.length === 0) throw new MatrixError(502, "M_UNKNOWN", `Failed to ${description} via any server: No servers specified.`);
  const log = ctx.log.named("synapse.federation.federation_client");
  for (const server of others) {
    try {
      return await ask(server);
    } catch (error) {
      if (error instanceof RemoteError) {
        const goesOn = error.status >= 500 || options.failoverErrcodes?.includes(error.errcode) === true;
        if (!goesOn) throw relayed(error);
      } else if (!(error instanceof DestinationUnavailable) && !(error instanceof DestinationDenied) && !(error instanceof BadAnswer)) throw error;
      log.warn(`Failed to ${description} via ${server}: ${(error as Error).message}`);
    }
  }
  throw new MatrixError(502, "M_UNKNOWN", `Failed to ${description} via any server`);
}

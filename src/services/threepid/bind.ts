import { HttpError } from "../../outbound/http-client.ts";
import { isIdentityServer } from "../../outbound/identity-server.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { addBinding, getBoundThreepids, getIdServersOfBinding, removeBinding } from "../../storage/threepids/bindings.ts";
import type { Context } from "../context.ts";

type BindContext = Pick<Context, "identityServers" | "log" | "read" | "transaction">;

/** Telling identity servers who owns an address, so that others find the user by it. */
export interface Binding {
  readonly sid: string;
  readonly clientSecret: string;
  readonly idServer: string;
  readonly idAccessToken: string;
}

/** Binds the address of an identity server's session to the user, and remembers where. @throws MatrixError as the identity server answers; 502 */
export async function bindThreepid(ctx: BindContext, userId: string, binding: Binding): Promise<void> {
  const { idServer, idAccessToken, sid, clientSecret } = binding;
  requireIdentityServer(idServer);
  const { medium, address } = await asMatrixError(ctx.identityServers.bind(idServer, idAccessToken, { sid, clientSecret, userId }));
  if (typeof medium !== "string" || typeof address !== "string" || medium.includes("\0") || address.includes("\0")) throw unreachable();
  await ctx.transaction("add_user_bound_threepid", (txn) => addBinding(txn, userId, medium, address, idServer));
}

/**
 * Takes a binding away: from that identity server, or from all where this server bound the address. False when one of them does not
 * support it, or none is known.
 * @throws MatrixError 400, 502
 */
export async function unbindThreepid(
  ctx: BindContext,
  userId: string,
  threepid: { medium: string; address: string },
  idServer: string | undefined,
): Promise<boolean> {
  const { medium, address } = threepid;
  if (idServer !== undefined) requireIdentityServer(idServer);
  const idServers = idServer === undefined ? await getIdServersOfBinding(ctx.read, userId, medium, address) : [idServer];
  let unbound = idServers.length > 0;
  for (const server of idServers) {
    try {
      await ctx.identityServers.unbind(server, userId, medium, address);
    } catch (error) {
      ctx.log.named("synapse.handlers.identity").warn(`Could not unbind an address at ${server}`, { error });
      if (!(error instanceof HttpError) || ![400, 404, 501].includes(error.status)) throw unreachable();
      unbound = false;
    }
    await ctx.transaction("remove_user_bound_threepid", (txn) => removeBinding(txn, userId, medium, address, server));
  }
  return unbound;
}

/** Takes all bindings of a user away who closes the account. @throws MatrixError 400: the account stays open then */
export async function unbindAll(ctx: BindContext, userId: string, idServer: string | undefined): Promise<boolean> {
  let unbound = true;
  for (const threepid of await getBoundThreepids(ctx.read, userId)) {
    try {
      unbound = (await unbindThreepid(ctx, userId, threepid, idServer)) && unbound;
    } catch {
      throw new MatrixError(400, "M_UNKNOWN", "Failed to remove threepid from ID server");
    }
  }
  return unbound;
}

function requireIdentityServer(idServer: string): void {
  if (!isIdentityServer(idServer)) throw new MatrixError(400, "M_UNKNOWN", "id_server must be a valid hostname with optional port and path components");
}

const unreachable = (): MatrixError => new MatrixError(502, "M_UNKNOWN", "Failed to contact identity server");

/** The identity server's own errors are for the client, which talks with it too; others say nothing of what was found at the address. */
async function asMatrixError<T>(asking: Promise<T>): Promise<T> {
  try {
    return await asking;
  } catch (error) {
    if (error instanceof HttpError && error.status >= 400 && error.status < 500 && error.errcode !== "M_UNKNOWN")
      throw new MatrixError(error.status, error.errcode, error.remoteMessage);
    throw Object.assign(unreachable(), { cause: error });
  }
}

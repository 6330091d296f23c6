import { isJsonObject, type JsonObject } from "../../../lib/json.ts";
import { RemoteError } from "../../../outbound/federation/client.ts";
import { MatrixError } from "../../../protocol/errors.ts";
import { getDomain } from "../../../protocol/ids.ts";
import type { Context } from "../../context.ts";
import { relayed } from "../remote-error.ts";

type Needs = Pick<Context, "federationClient">;

const PROFILE_BYTES = 256 * 1024;
const PROFILE_TIMEOUT_MS = 30_000;

/** The profile of a user of another server as that server tells it, of one field or whole. @throws MatrixError its refusal; 502 */
export async function remoteProfile(ctx: Needs, userId: string, field: string | undefined): Promise<JsonObject> {
  try {
    return await ctx.federationClient.requestObject({
      method: "GET",
      destination: getDomain(userId),
      path: "/_matrix/federation/v1/query/profile",
      query: { user_id: userId, field },
      maxBytes: PROFILE_BYTES,
      timeoutMs: PROFILE_TIMEOUT_MS,
    });
  } catch (error) {
    if (error instanceof RemoteError) throw relayed(error);
    throw new MatrixError(502, "M_UNKNOWN", "Failed to fetch profile");
  }
}

/** Account statuses of users of another server (MSC3720). Those that it does not tell, or all when it cannot be asked, are failures. */
export async function remoteAccountStatuses(ctx: Needs, server: string, userIds: readonly string[]): Promise<{ statuses: JsonObject; failures: string[] }> {
  const statuses: JsonObject = {};
  try {
    const answer = await ctx.federationClient.requestObject({
      method: "POST",
      destination: server,
      path: "/_matrix/federation/unstable/org.matrix.msc3720/account_status",
      content: { user_ids: [...userIds] },
      maxBytes: PROFILE_BYTES,
      timeoutMs: PROFILE_TIMEOUT_MS,
    });
    for (const [userId, status] of Object.entries(isJsonObject(answer.account_statuses) ? answer.account_statuses : {})) {
      if (userIds.includes(userId) && isJsonObject(status)) statuses[userId] = status;
    }
  } catch {
    // Whatever went wrong: nothing is known of them.
  }
  return { statuses, failures: userIds.filter((userId) => statuses[userId] === undefined) };
}

import { MatrixError } from "../../protocol/errors.ts";
import { threepidAllowed } from "../accounts/register-interactively.ts";
import type { Context } from "../context.ts";

/** Whether modules and `allowed_local_3pids` let users of this server have the 3PID. @throws MatrixError 403 M_THREEPID_DENIED */
export async function requireThreepidAllowed(
  ctx: Context,
  medium: string,
  address: string,
  options: { registration?: boolean; message?: string } = {},
): Promise<void> {
  if (!(await threepidAllowed(ctx, medium, address, options.registration ?? false)))
    throw new MatrixError(403, "M_THREEPID_DENIED", options.message ?? "Third party identifiers (email/phone numbers) are not authorized on this server");
}

import { createHmac, timingSafeEqual } from "node:crypto";
import type { JsonObject } from "../../lib/json.ts";
import { MatrixError } from "../../protocol/errors.ts";
import type { Context } from "../context.ts";
import { hashPassword } from "./passwords.ts";
import { registerUser } from "./register.ts";

const MAX_LENGTH = 512;

/**
 * Registers a user for whoever knows `registration_shared_secret` (`register_new_matrix_user`). Returns the user id.
 * @throws MatrixError 400, 403 for a wrong `mac`, and those of `registerUser`
 */
export async function registerBySharedSecret(ctx: Context, body: JsonObject): Promise<string> {
  const secret = ctx.config.registration.registrationSharedSecret;
  if (!secret) throw new MatrixError(400, "M_UNKNOWN", "Shared secret registration is not enabled");
  const { nonce, username, password, mac, displayname } = body;
  if (nonce === undefined) throw missing("nonce");
  if (typeof nonce !== "string" || !ctx.registrationNonces.take(nonce)) throw new MatrixError(400, "M_UNKNOWN", "unrecognised nonce");
  if (username === undefined) throw missing("username");
  if (!isText(username)) throw new MatrixError(400, "M_UNKNOWN", "Invalid username");
  if (password === undefined) throw missing("password");
  if (!isText(password)) throw new MatrixError(400, "M_UNKNOWN", "Invalid password");
  const userType = body["user_type"] ?? null;
  if (userType !== null && (typeof userType !== "string" || !ctx.config.userTypes.allUserTypes.includes(userType)))
    throw new MatrixError(400, "M_UNKNOWN", "Invalid user type");
  if (mac === undefined) throw missing("mac");
  const admin = Boolean(body["admin"]);
  const wanted = createHmac("sha1", secret)
    .update([nonce, username, password, admin ? "admin" : "notadmin", ...(userType ? [userType] : [])].join("\0"), "utf8")
    .digest("hex");
  if (
    typeof mac !== "string" ||
    mac.length !== wanted.length ||
    !timingSafeEqual(Buffer.from(mac.padEnd(40), "latin1").subarray(0, 40), Buffer.from(wanted, "latin1"))
  ) {
    throw new MatrixError(403, "M_UNKNOWN", "HMAC incorrect");
  }
  if (displayname !== undefined && displayname !== null && typeof displayname !== "string")
    throw new MatrixError(400, "M_INVALID_PARAM", "Invalid displayname");
  return await registerUser(ctx, {
    localpart: username.toLowerCase(),
    passwordHash: await hashPassword(ctx, password),
    admin,
    userType,
    displayName: displayname ?? undefined,
    byAdmin: true,
    approved: true,
  });
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.length <= MAX_LENGTH && !value.includes("\0");
}

const missing = (key: string): MatrixError => new MatrixError(400, "M_BAD_JSON", `${key} must be specified`);

import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { localMedia } from "../../storage/media/local-media.ts";
import { getProfile } from "../../storage/accounts/profiles.ts";
import { changeProfile } from "../accounts/profile.ts";
import type { Context } from "../context.ts";
import { uploadMedia } from "../media/media.ts";
import { baseType } from "../media/thumbnailer.ts";
import { requesterFor } from "../requester.ts";

/** For pictures, where `max_avatar_size` says nothing. */
const MAX_BYTES = 10 * 1024 * 1024;

/**
 * Fetches the picture that a provider names, stores it and makes it the user's avatar, unless it is already. Addresses of
 * `ip_range_blacklist` are out of reach. Failures are logged: nobody is kept from logging in by a picture.
 */
export async function setPictureAsAvatar(ctx: Context, userId: string, url: string): Promise<void> {
  try {
    const { bytes, mediaType } = await fetchPicture(ctx, url);
    // The name tells whether it is the same picture the next time.
    const uploadName = `sso_avatar_${createHash("sha256").update(bytes).digest("hex")}`;
    if ((await presentUploadName(ctx, userId)) === uploadName) return;
    const mxc = await uploadMedia(ctx, userId, { content: Readable.from([bytes]), length: bytes.length, mediaType, uploadName });
    const shadowBanned = (await ctx.accounts.user(userId))?.shadowBanned ?? false;
    await changeProfile(ctx, requesterFor(userId, { shadowBanned }), { userId, field: "avatar_url", value: mxc, byAdmin: true, propagate: true });
  } catch (error) {
    ctx.log.named("synapse.handlers.sso").warn(`The picture of ${userId} at its identity provider was not taken over`, { error });
  }
}

async function fetchPicture(ctx: Context, url: string): Promise<{ bytes: Buffer; mediaType: string }> {
  const { allowedAvatarMimetypes, maxAvatarSize } = ctx.config.server;
  const answer = await ctx.http.pictures.get(url, () => {});
  try {
    if (answer.status !== 200) throw new Error(`the server answered ${answer.status}`);
    const mediaType = answer.header("content-type") ?? "";
    const type = baseType(mediaType);
    if (allowedAvatarMimetypes?.length ? !allowedAvatarMimetypes.includes(type) : !type.startsWith("image/")) throw new Error(`it is of the type ${type}`);
    const limit = maxAvatarSize ?? MAX_BYTES;
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limit) throw new Error(`it is larger than ${limit} bytes`);
      chunks.push(chunk);
    }
    return { bytes: Buffer.concat(chunks), mediaType: type };
  } finally {
    answer.body.on("error", () => {}).destroy();
  }
}

async function presentUploadName(ctx: Context, userId: string): Promise<string | undefined> {
  const avatar = (await getProfile(ctx.read, userId))?.avatarUrl;
  const prefix = `mxc://${ctx.config.server.serverName}/`;
  if (!avatar?.startsWith(prefix)) return undefined;
  return (await localMedia(ctx.read, avatar.slice(prefix.length)))?.upload_name ?? undefined;
}

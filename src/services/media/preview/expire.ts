import { deleteLocalMediaRows } from "../../../storage/media/local-media.ts";
import { deletePreviews, expiredPreviews, previewMediaBefore } from "../../../storage/media/url-cache.ts";
import type { Context } from "../../context.ts";
import { BadMediaPath } from "../paths.ts";

type Needs = Pick<Context, "clock" | "log" | "media" | "read" | "transaction">;

/** Clients may go on showing the picture of a preview that is out of date. */
const PICTURE_LIFETIME_MS = 2 * 24 * 3_600_000;
const BATCH = 500;

/** Removes previews that are out of date with their pages, and what was fetched for previews two days ago. */
export async function expirePreviews(ctx: Needs): Promise<void> {
  const now = ctx.clock.now();
  const expired = await expiredPreviews(ctx.read, now, BATCH);
  const pictures = expired.filter((preview) => preview.isImage).map((preview) => preview.media_id);
  const removed = await removeFiles(
    ctx,
    expired.filter((preview) => !preview.isImage).map((preview) => preview.media_id),
  );
  const previews = [...pictures, ...removed];
  if (previews.length > 0) await ctx.transaction("delete_url_cache", (txn) => deletePreviews(txn, previews));

  const old = await removeFiles(ctx, await previewMediaBefore(ctx.read, now - PICTURE_LIFETIME_MS, BATCH));
  if (old.length === 0) return;
  await ctx.transaction("delete_url_cache_media", async (txn) => {
    await deleteLocalMediaRows(txn, old);
    txn.afterCommit(() => ctx.media.known.forget(old.map((mediaId) => ({ origin: undefined, mediaId }))));
  });
}

/** Removes files with their thumbnails; returns those that are gone. */
async function removeFiles(ctx: Needs, mediaIds: readonly string[]): Promise<string[]> {
  const gone: string[] = [];
  for (const mediaId of mediaIds) {
    try {
      await ctx.media.files.delete({ origin: undefined, fileId: mediaId, urlCache: true });
      gone.push(mediaId);
    } catch (error) {
      if (error instanceof BadMediaPath) gone.push(mediaId);
      else ctx.log.named("synapse.media.url_previewer").warn(`Failed to remove media from the URL preview cache: ${mediaId}`, { error });
    }
  }
  return gone;
}

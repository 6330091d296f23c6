import { isJsonObject } from "../../lib/json.ts";
import { deletePreviewsOf, eventsWithUrls, oldLocalMedia, type OldMediaFilter, oldRemoteMedia, previewsAmong } from "../../storage/media/lists.ts";
import { deleteLocalMediaRows } from "../../storage/media/local-media.ts";
import { freeMediaOfUser, insertQuarantineChanges, type MediaName, setQuarantine } from "../../storage/media/quarantine.ts";
import { deleteRemoteMediaRows } from "../../storage/media/remote-media.ts";
import type { Context } from "../context.ts";
import { BadMediaPath } from "../media/paths.ts";

type Needs = Pick<Context, "config" | "log" | "media" | "notifier" | "read" | "streams" | "transaction">;

const EVENTS_AT_ONCE = 1000;
/** Files that are deleted before their rows go in one transaction. */
const FILES_AT_ONCE = 100;
const MXC = /^mxc:\/\/([^/]+)\/([^/#?]+)/;

/** Puts media and its copies into quarantine, or (`by` null) takes it out; returns how many. */
export async function quarantine(ctx: Needs, media: readonly MediaName[], by: string | null): Promise<number> {
  if (media.length === 0) return 0;
  return await ctx.transaction("quarantine_media", async (txn) => {
    const touched = await setQuarantine(txn, media, by);
    txn.afterCommit(() => ctx.media.known.forget(touched));
    if (touched.length > 0) {
      const { quarantinedMedia } = ctx.streams;
      const streamIds = await quarantinedMedia.next(txn, touched.length);
      await insertQuarantineChanges(txn, { streamIds, instanceName: quarantinedMedia.instanceName, media: touched, quarantined: by !== null });
      txn.afterCommit(() => ctx.notifier.announce());
    }
    return touched.length;
  });
}

/** Quarantines all media that a local user uploaded; returns how many. */
export async function quarantineOfUser(ctx: Needs, userId: string, by: string): Promise<number> {
  const ids = await freeMediaOfUser(ctx.read, userId);
  return await quarantine(
    ctx,
    ids.map((mediaId) => ({ origin: undefined, mediaId })),
    by,
  );
}

/** Quarantines all media that is shown in a room; returns how many. */
export async function quarantineOfRoom(ctx: Needs, roomId: string, by: string): Promise<number> {
  return await quarantine(ctx, await mediaOfRoom(ctx, roomId), by);
}

/** Media that events of a room name, newest first; one that is named twice appears twice. */
export async function mediaOfRoom(ctx: Pick<Context, "config" | "read">, roomId: string): Promise<MediaName[]> {
  const media: MediaName[] = [];
  for (let below: number | undefined; ;) {
    const rows = await eventsWithUrls(ctx.read, roomId, below, EVENTS_AT_ONCE);
    for (const { json } of rows) for (const url of urlsOf(json)) media.push(...nameOf(ctx, url));
    if (rows.length < EVENTS_AT_ONCE) return media;
    below = rows.at(-1)!.stream_ordering;
  }
}

function urlsOf(json: string): unknown[] {
  const event: unknown = JSON.parse(json);
  const content = isJsonObject(event) && isJsonObject(event.content) ? event.content : {};
  return [content.url, isJsonObject(content.info) ? content.info.thumbnail_url : undefined];
}

function nameOf(ctx: Pick<Context, "config">, url: unknown): MediaName[] {
  const match = typeof url === "string" ? MXC.exec(url) : null;
  if (match === null) return [];
  return [{ origin: match[1] === ctx.config.server.serverName ? undefined : match[1]!, mediaId: match[2]! }];
}

/** Deletes local media with files, thumbnails and previews; returns the ids of what is gone (a file that cannot be deleted keeps its row). */
export async function deleteLocalMedia(ctx: Needs, mediaIds: readonly string[]): Promise<string[]> {
  const gone: string[] = [];
  for (let at = 0; at < mediaIds.length; at += FILES_AT_ONCE) {
    const batch = mediaIds.slice(at, at + FILES_AT_ONCE);
    const previews = await previewsAmong(ctx.read, batch);
    const deleted = await deleteFiles(ctx, batch, (mediaId) => ({ origin: undefined, fileId: mediaId, urlCache: previews.has(mediaId) }));
    await ctx.transaction("delete_local_media", async (txn) => {
      await deletePreviewsOf(txn, deleted);
      await deleteLocalMediaRows(txn, deleted);
      txn.afterCommit(() => ctx.media.known.forget(deleted.map((mediaId) => ({ origin: undefined, mediaId }))));
    });
    gone.push(...deleted);
  }
  return gone;
}

/** Deletes local media that was not used for long; see `oldLocalMedia`. */
export async function deleteOldLocalMedia(ctx: Needs, filter: Omit<OldMediaFilter, "serverName">): Promise<string[]> {
  return await deleteLocalMedia(ctx, await oldLocalMedia(ctx.read, { ...filter, serverName: ctx.config.server.serverName }));
}

/** Deletes copies of remote media that nobody used since a time (milliseconds); returns how many. They are fetched again when needed. */
export async function deleteOldRemoteMedia(ctx: Needs, before: number): Promise<number> {
  const media = await oldRemoteMedia(ctx.read, before);
  let count = 0;
  for (let at = 0; at < media.length; at += FILES_AT_ONCE) {
    const deleted = await deleteFiles(ctx, media.slice(at, at + FILES_AT_ONCE), (one) => ({ origin: one.media_origin, fileId: one.filesystem_id }));
    await ctx.transaction("delete_remote_media", async (txn) => {
      await deleteRemoteMediaRows(txn, deleted);
      txn.afterCommit(() => ctx.media.known.forget(deleted.map((one) => ({ origin: one.media_origin, mediaId: one.media_id }))));
    });
    count += deleted.length;
  }
  return count;
}

async function deleteFiles<T>(
  ctx: Needs,
  media: readonly T[],
  fileOf: (one: T) => { origin: string | undefined; fileId: string; urlCache?: boolean },
): Promise<T[]> {
  const outcomes = await Promise.allSettled(media.map((one) => ctx.media.files.delete(fileOf(one))));
  return media.filter((_, index) => {
    const outcome = outcomes[index]!;
    // An id that can be no file's name has no file.
    if (outcome.status === "fulfilled" || outcome.reason instanceof BadMediaPath) return true;
    ctx.log.named("synapse.media.media_repository").warn("A media file could not be deleted", { error: outcome.reason });
    return false;
  });
}

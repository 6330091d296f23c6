import { randomBytes } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { V1 } from "../harness/client.ts";
import { Photo } from "../harness/photo.ts";
import { noise } from "../harness/png.ts";
import { inParallel } from "../harness/scratch.ts";
import { isFederated } from "./federation.ts";
import type { Scenario, Stage } from "./scenarios.ts";
import { MediaReader } from "./media-reader.ts";
import { timed, type Target } from "./targets.ts";

/** Files and previews. The pages that are previewed are served by the process of the measurement; only servers that it starts may fetch them. */

/** The options with which servers may preview pages of this machine, and of this machine alone. */
export const PREVIEWS = {
  url_preview_enabled: true,
  url_preview_ip_range_blacklist: ["0.0.0.0/0", "::/0"],
  ip_range_whitelist: ["127.0.0.1"],
  url_preview_ip_range_whitelist: ["127.0.0.1"],
};

const MEGABYTE = 1_000_000;
const AT_ONCE = 4;
const stored = new WeakMap<Target, { file: string; picture: string }>();
/** What the next round sends: making it takes as long as sending it, and is no part of what is measured. */
const toSend = new WeakMap<Target, readonly Buffer[]>();
const readers = new Map<Target, MediaReader>();

async function upload({ target }: Stage, who: number, body: Buffer, type: string): Promise<string> {
  const client = target.users[who % target.users.length]!;
  const { content_uri: uri } = await client.call("POST", "/_matrix/media/v3/upload", { query: { filename: "bench" }, body, headers: { "content-type": type } });
  return uri.slice("mxc://".length);
}

/** Fetches media and makes sure that there is something. */
async function fetchMedia({ target }: Stage, path: string, least: number): Promise<void> {
  let reader = readers.get(target);
  if (reader === undefined) readers.set(target, (reader = new MediaReader(target.users[0]!)));
  const answer = await reader.get(`${V1}/media/${path}`);
  if (answer.status !== 200 || answer.bytes < least) throw new Error(`${target.label}: ${path}: ${answer.status}, ${answer.bytes} bytes`);
}

const each = (stage: Stage, fn: (index: number) => Promise<unknown>, times = 1): Promise<unknown> =>
  inParallel(Array.from({ length: stage.scale.media * times }), AT_ONCE, (_, index) => fn(index));

/** A server that just started is slower than it is from then on, for a while. */
const warmUp = async (...work: Parameters<typeof each>): Promise<void> => void (await each(...work));

const uploadFile: Scenario = {
  name: "upload, 1 MB file",
  what: "files of 1 MB, all different, 4 at a time",
  async prepare(stage) {
    await warmUp(stage, (index) => upload(stage, index, randomBytes(MEGABYTE), "application/octet-stream"));
  },
  async arrange(stage) {
    toSend.set(
      stage.target,
      Array.from({ length: stage.scale.media }, () => randomBytes(MEGABYTE)),
    );
  },
  async round(stage, _round, done) {
    const files = toSend.get(stage.target)!;
    await each(stage, async (index) => {
      const file = await timed(done, () => upload(stage, index, files[index]!, "application/octet-stream"));
      stored.set(stage.target, { file, picture: "" });
    });
  },
};

const download1MB = (stage: Stage): Promise<void> => fetchMedia(stage, `download/${stored.get(stage.target)!.file}`, MEGABYTE);

const download: Scenario = {
  name: "download, 1 MB file",
  what: "a file of 1 MB, 4 at a time",
  repeat: 4,
  async prepare(stage) {
    await warmUp(stage, () => download1MB(stage));
  },
  async round(stage, _round, done) {
    await each(stage, () => timed(done, () => download1MB(stage)));
  },
};

/** Pictures of which all thumbnails are made before the answer. */
const uploadOf = (name: string, what: string, type: string, make: (index: number) => Buffer | Promise<Buffer>): Scenario => ({
  name,
  what: `${what}, of which all thumbnails are made, 4 at a time`,
  async arrange(stage, round) {
    const count = Math.ceil(stage.scale.media / 4);
    const pictures: Buffer[] = [];
    for (let index = 0; index < count; index++) pictures.push(await make(round * count + index));
    toSend.set(stage.target, pictures);
  },
  async round(stage, _round, done) {
    await inParallel(toSend.get(stage.target)!, AT_ONCE, async (bytes, index) => {
      const picture = await timed(done, () => upload(stage, index, bytes, type));
      stored.set(stage.target, { file: stored.get(stage.target)!.file, picture });
    });
  },
});

let photo: Promise<Photo> | undefined;
const photoOf = async (width: number, height: number, index: number): Promise<Buffer> =>
  await (await (photo ??= Photo.make(2_700, 2_000))).jpeg(width, height, 82, index);

const uploadNoise = uploadOf("upload, 1 MB PNG", "pictures of 1 MB that nothing compresses (PNG, 680 by 490)", "image/png", (index) =>
  noise(680, 490, `${index}`),
);
const uploadPhoto = uploadOf("upload, 1 MB photo", "photos of 1 MB (JPEG, 2560 by 1920)", "image/jpeg", (index) => photoOf(2_560, 1_920, index));

const thumbnailOf = (stage: Stage): Promise<void> =>
  fetchMedia(stage, `thumbnail/${stored.get(stage.target)!.picture}?width=320&height=240&method=scale`, 1000);

const thumbnail: Scenario = {
  name: "thumbnail",
  what: "a thumbnail of a photo of 1 MB, 4 at a time",
  repeat: 4,
  async prepare(stage) {
    await warmUp(stage, () => thumbnailOf(stage));
  },
  async round(stage, _round, done) {
    await each(stage, () => timed(done, () => thumbnailOf(stage)));
  },
};

let pages: { server: Server; url: string } | undefined;
let page = 0;

async function pageServer(): Promise<string> {
  if (pages !== undefined) return pages.url;
  const picture = await photoOf(1_200, 630, 0); // the size that sites are told to give theirs
  const server = createServer((request, response) => {
    if (request.url!.startsWith("/picture")) {
      response.writeHead(200, { "Content-Type": "image/jpeg" });
      response.end(picture);
      return;
    }
    const paragraphs = Array.from({ length: 60 }, (_, index) => `<p class="text">Paragraph ${index} of <a href="/${index}">an article</a> &amp; more.</p>`);
    response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" });
    response.end(
      `<!DOCTYPE html><html><head><title>Page ${request.url}</title><meta property="og:title" content="Page ${request.url}">` +
        `<meta property="og:description" content="What the page says"><meta property="og:image" content="${pages!.url}/picture${request.url}">` +
        `</head><body><article>${paragraphs.join("\n")}</article></body></html>`,
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  pages = { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
  return pages.url;
}

/** Ends the server of the pages, and what files were fetched with. */
export async function closePages(): Promise<void> {
  for (const reader of readers.values()) reader.close();
  readers.clear();
  const server = pages?.server;
  pages = undefined;
  if (server === undefined) return;
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

async function preview({ target }: Stage, who: number, url: string): Promise<void> {
  const answer = await target.users[who % target.users.length]!.get(`${V1}/media/preview_url`, { url });
  if (!String(answer["og:title"]).startsWith("Page") || !String(answer["og:image"]).startsWith("mxc://"))
    throw new Error(`${target.label}: a preview is ${JSON.stringify(answer)}`);
}

const newPreview: Scenario = {
  name: "URL preview",
  what: "pages that nobody asked for yet, each with a photo (JPEG, 1200 by 630), 4 at a time",
  applies: isFederated,
  async prepare(stage) {
    const url = await pageServer();
    await warmUp(stage, (index) => preview(stage, index, `${url}/first${page++}`));
  },
  async round(stage, _round, done) {
    const url = await pageServer();
    await each(stage, (index) => timed(done, () => preview(stage, index, `${url}/new${page++}`)));
  },
};

const knownPreview: Scenario = {
  name: "URL preview, known",
  what: "a page that was asked for before, 4 at a time",
  applies: isFederated,
  async prepare(stage) {
    const url = await pageServer();
    await warmUp(stage, (index) => preview(stage, index, `${url}/known`), 5);
  },
  async round(stage, _round, done) {
    const url = await pageServer();
    await each(stage, (index) => timed(done, () => preview(stage, index, `${url}/known`)), 10);
  },
};

/** In the order in which they must run: files are fetched that were uploaded before. */
export const MEDIA: readonly Scenario[] = [uploadFile, download, uploadNoise, uploadPhoto, thumbnail, newPreview, knownPreview];

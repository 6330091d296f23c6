import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { FILE_STORAGE } from "../../src/config/named-modules.ts";
import { BadMediaPath, mediaPath } from "../../src/services/media/paths.ts";
import type { CheckContext, DatabaseCheck } from "../context.ts";
import { blocker, count, type Draft, note, ok, warning } from "../finding.ts";
import { mediaSample, type MediaRow } from "../queries/media.ts";

/** Larger files are not read to compare their hash, unless with --deep. */
const HASHED = 20_000_000;

type Verdict = "missing" | "length" | "hash" | "unreadable" | "bad path" | undefined;

/** Risk 95: rows of the database and files of the store. */
const media: DatabaseCheck = {
  name: "media-files",
  risks: [95],
  async run(ctx) {
    const { config, random, read, deep } = ctx;
    const folders = mediaFolders(ctx);
    const elsewhere = config.media.storageProviders.some(({ module }) => module !== FILE_STORAGE);
    const letters = ["", ...Array.from({ length: deep ? 20 : 4 }, () => random.letters(2))];
    const rows = await mediaSample(read, letters, deep ? 50 : 12);
    if (rows.length === 0) return [ok("risk-95", "There is no media")];
    if (folders.length === 0)
      return [
        note("risk-95", {
          what: "No media is kept in files here",
          why: "It lies with a storage provider, which is not asked.",
          todo: "See that the provider's module has a stand-in.",
        }),
      ];
    const found = new Map<Verdict, { all: number; local: number; examples: string[] }>();
    for (const row of rows) {
      const verdict = await inspect(row, folders, deep);
      const entry = found.get(verdict) ?? { all: 0, local: 0, examples: [] };
      entry.all++;
      if (row.origin === null) entry.local++;
      if (entry.examples.length < 5) entry.examples.push(`${row.origin ?? config.server.serverName}/${row.media_id}`);
      found.set(verdict, entry);
    }
    return verdicts(found, rows, elsewhere);
  },
};

function verdicts(found: ReadonlyMap<Verdict, { all: number; local: number; examples: string[] }>, rows: readonly MediaRow[], elsewhere: boolean): Draft[] {
  const drafts: Draft[] = [];
  const of = `of ${count(rows.length, "file")} looked at`;
  const missing = found.get("missing");
  const locals = rows.filter(({ origin }) => origin === null).length;
  if (missing !== undefined) {
    const what = `${missing.all} ${of} ${missing.all === 1 ? "is" : "are"} not in the media store`;
    const { examples } = missing;
    if (elsewhere) {
      drafts.push(
        note("risk-95", {
          what,
          why: "They may lie with the storage provider, which is not asked.",
          todo: "See that the provider's module has a stand-in.",
          examples,
        }),
      );
    } else if (missing.local === 0) {
      drafts.push(
        note("risk-95", {
          what: `${what}, all of them other servers'`,
          why: "They are fetched again when somebody wants them, as long as their server has them.",
          todo: "Nothing.",
          examples,
        }),
      );
    } else if (missing.local === locals && locals >= 5) {
      drafts.push(
        blocker("risk-95", {
          what: `None of our own ${count(locals, "file")} looked at is in the media store`,
          why: "It is another folder, or not mounted.",
          todo: "Correct media_store_path; relative paths count from the folder in which the server is started.",
          examples,
        }),
      );
    } else {
      drafts.push(
        warning("risk-95", {
          what,
          why: "Those who open them get an error, from Synapse as well.",
          todo: "Restore them from a backup, if there is one.",
          examples,
        }),
      );
    }
  }
  const wrong: readonly (readonly [Verdict, string, string])[] = [
    ["length", "another length than the database says", "Files were cut off, by a full disk or a broken copy."],
    ["hash", "another content than the database says", "They were changed on the disk."],
    ["bad path", "an id that is no file name", "They cannot be served."],
  ];
  for (const [verdict, what, why] of wrong) {
    const entry = found.get(verdict);
    if (entry === undefined) continue;
    drafts.push(
      warning("risk-95", {
        what: `${entry.all} ${of} ${entry.all === 1 ? "has" : "have"} ${what}`,
        why,
        todo: "Restore them from a backup, if there is one.",
        examples: entry.examples,
      }),
    );
  }
  const unreadable = found.get("unreadable");
  if (unreadable !== undefined) {
    drafts.push(
      warning("risk-95", {
        what: `${unreadable.all} ${of} may not be read by this user`,
        why: "Run by the same user, Myelin could not serve them.",
        todo: "Run Myelin (and this check) as the user that runs Synapse.",
        examples: unreadable.examples,
      }),
    );
  }
  return drafts.length > 0 ? drafts : [ok("risk-95", `All ${count(rows.length, "media file")} looked at are as the database says`)];
}

/** The media store, and folders in which copies are kept. */
function mediaFolders({ config }: CheckContext): string[] {
  const folders = config.media.enableLocalMediaStorage ? [config.media.mediaStorePath] : [];
  for (const { module, config: options } of config.media.storageProviders) {
    if (module === FILE_STORAGE && typeof options["directory"] === "string") folders.push(options["directory"]);
  }
  return folders;
}

async function inspect(row: MediaRow, folders: readonly string[], deep: boolean): Promise<Verdict> {
  let relative: string;
  try {
    relative = mediaPath({ origin: row.origin ?? undefined, fileId: row.file_id });
  } catch (error) {
    if (error instanceof BadMediaPath) return "bad path";
    throw error;
  }
  for (const folder of folders) {
    const file = join(folder, relative);
    try {
      const info = await stat(file);
      if (!info.isFile()) continue;
      if (row.media_length !== null && info.size !== Number(row.media_length)) return "length";
      if (row.sha256 === null || (info.size > HASHED && !deep)) {
        return undefined;
      }
      const hash = createHash("sha256");
      await pipeline(createReadStream(file), hash);
      return hash.digest("hex") === row.sha256 ? undefined : "hash";
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EACCES" || code === "EPERM") return "unreadable";
      if (code !== "ENOENT" && code !== "ENOTDIR") throw error;
    }
  }
  return "missing";
}

export const mediaChecks: readonly DatabaseCheck[] = [media];

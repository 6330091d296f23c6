import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import type { Logger } from "../../lib/log.ts";
import { MatrixError } from "../../protocol/errors.ts";
import type { SpamChecker } from "../modules/callbacks/spam-checker.ts";
import type { MediaFile } from "./paths.ts";

/** A module refused the file. As it is it says "not found", as Synapse does for what it fetches; uploads answer 400. */
export class MediaIsSpam extends MatrixError {
  constructor(errcode: string) {
    super(404, errcode, "Not found");
    this.name = "MediaIsSpam";
  }
}

/** Asks the modules about each file that is stored: uploads, copies of remote media, thumbnails, pages and pictures of previews. */
export function judgeMediaBy(spamChecker: SpamChecker, log: Logger): (file: MediaFile, path: string) => Promise<void> {
  return async (file, path) => {
    if (!spamChecker.has("check_media_file_for_spam")) return;
    const refusal = await spamChecker.mediaRefusal(
      {
        path,
        read: () => readFile(path),
        async write_chunks_to(write) {
          for await (const chunk of createReadStream(path)) write(chunk as Buffer);
        },
      },
      { server_name: file.origin, file_id: file.fileId, url_cache: file.urlCache === true, thumbnail: file.thumbnail },
    );
    if (refusal === undefined) return;
    log.info("Blocking media due to spam checker");
    throw new MediaIsSpam(refusal.errcode);
  };
}

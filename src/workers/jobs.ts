import { accountJobs } from "../services/accounts/jobs.ts";
import { saveStreamPositions } from "../storage/stream-ids.ts";
import { flushMediaUses } from "../services/media/media.ts";
import type { Job } from "./periodic.ts";

/** Every periodic job of the server. */
export const jobs: readonly Job[] = [
  ...accountJobs,
  {
    name: "save_stream_positions",
    intervalMs: 1_000,
    run: (ctx) => saveStreamPositions(ctx.db, ctx.streams),
  },
  { name: "update_recently_accessed_media", intervalMs: 60_000, run: (ctx) => flushMediaUses(ctx) },
];

import { saveStreamPositions } from "../storage/stream-ids.ts";
import type { Job } from "./periodic.ts";

/** Every periodic job of the server. */
export const jobs: readonly Job[] = [
  {
    name: "save_stream_positions",
    intervalMs: 1_000,
    run: (ctx) => saveStreamPositions(ctx.db, ctx.streams),
  },
];

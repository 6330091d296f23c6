#!/usr/bin/env node
import { main } from "./command.ts";
import { reviewRecentSignups } from "./commands/review-recent-signups.ts";

await main(reviewRecentSignups);

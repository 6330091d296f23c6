#!/usr/bin/env node
import { main } from "./command.ts";
import { autoCompressor } from "./commands/auto-compressor.ts";

await main(autoCompressor);

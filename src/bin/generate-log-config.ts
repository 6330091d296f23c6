#!/usr/bin/env node
import { main } from "./command.ts";
import { generateLogConfigCommand } from "./commands/generate.ts";

await main(generateLogConfigCommand);

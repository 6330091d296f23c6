#!/usr/bin/env node
import { main } from "./command.ts";
import { generateConfigCommand } from "./commands/generate.ts";

await main(generateConfigCommand);

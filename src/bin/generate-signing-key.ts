#!/usr/bin/env node
import { main } from "./command.ts";
import { generateSigningKeyCommand } from "./commands/generate.ts";

await main(generateSigningKeyCommand);

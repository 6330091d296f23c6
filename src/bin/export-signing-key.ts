#!/usr/bin/env node
import { main } from "./command.ts";
import { exportSigningKeyCommand } from "./commands/generate.ts";

await main(exportSigningKeyCommand);

#!/usr/bin/env node
import { main } from "./command.ts";
import { updateDatabase } from "./commands/update-database.ts";

await main(updateDatabase);

#!/usr/bin/env node
import { main } from "./command.ts";
import { synctl } from "./commands/synctl.ts";

await main(synctl);

#!/usr/bin/env node
import { main } from "./command.ts";
import { hashPassword } from "./commands/hash-password.ts";

await main(hashPassword);

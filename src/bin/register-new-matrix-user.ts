#!/usr/bin/env node
import { main } from "./command.ts";
import { registerNewMatrixUser } from "./commands/register-new-matrix-user.ts";

await main(registerNewMatrixUser);

// Runs a TypeScript file of the project with the arguments after it, installing the packages when they are missing.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { installPackages, root } from "./prepare.mjs";

installPackages();
const [file, ...args] = process.argv.slice(2);
const loader = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
const result = spawnSync(process.execPath, ["--import", loader, path.resolve(root, file), ...args], { stdio: "inherit" });
process.exitCode = result.status ?? 1;

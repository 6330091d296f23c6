// npm start: installs and compiles what is missing, then runs the server with the arguments given after `--`.
import path from "node:path";
import { pathToFileURL } from "node:url";
import { build, installPackages, root } from "./prepare.mjs";

installPackages();
build();
const main = path.join(root, "dist/src/main.js");
process.argv = [process.argv[0], main, ...process.argv.slice(2)];
await import(pathToFileURL(main).href);

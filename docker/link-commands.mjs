// Makes the commands of package.json (`bin`) available in a folder of the PATH: node docker/link-commands.mjs <package> <folder>
import { mkdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import path from "node:path";

const [root, folder] = process.argv.slice(2);
const { bin } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
mkdirSync(folder, { recursive: true });
for (const [name, file] of Object.entries(bin)) {
  const link = path.join(folder, name);
  rmSync(link, { force: true });
  symlinkSync(path.join(root, file), link);
}

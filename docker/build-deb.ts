// Builds the Debian package, where dpkg-deb is: node --import tsx docker/build-deb.ts [folder]
import path from "node:path";
import { fileURLToPath } from "node:url";
import { buildDebianPackage } from "./debian-package.ts";
import { buildImageTree } from "./image-tree.ts";

const here = path.dirname(fileURLToPath(import.meta.url));
const tree = buildImageTree(path.dirname(here), path.join(here, "Dockerfile"));
try {
  process.stdout.write(`${buildDebianPackage(tree, path.resolve(process.argv[2] ?? "."))}\n`);
} finally {
  tree.remove();
}

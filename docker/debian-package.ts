import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { type ImageTree, linkTree } from "./image-tree.ts";

const here = path.dirname(fileURLToPath(import.meta.url));
const HOME = "usr/lib/matrix-myelin";

/**
 * Builds the Debian package of what is in the image, with dpkg-deb.
 * @param without  folders of the package that are left out (tests do without the npm packages)
 * @returns the path of the package in `folder`
 */
export function buildDebianPackage(tree: ImageTree, folder: string, without: readonly string[] = []): string {
  const { version, bin } = JSON.parse(readFileSync(tree.inside("/app/package.json"), "utf8")) as { version: string; bin: Record<string, string> };
  const architecture = process.arch === "x64" ? "amd64" : process.arch;
  const stage = mkdtempSync(path.join(folder, "stage-"));
  const place = (from: string, to: string, mode: number): void => {
    const target = path.join(stage, to);
    mkdirSync(path.dirname(target), { recursive: true });
    cpSync(from, target);
    chmodSync(target, mode);
  };
  try {
    for (const name of readdirSync(tree.inside("/app"))) if (!without.includes(name)) linkTree(tree.inside(`/app/${name}`), path.join(stage, HOME, name));
    place(path.join(here, "systemd/matrix-myelin.service"), "lib/systemd/system/matrix-myelin.service", 0o644);
    place(path.join(here, "debian/README.Debian"), "usr/share/doc/matrix-myelin/README.Debian", 0o644);
    place(tree.inside("/app/LICENSE"), "usr/share/doc/matrix-myelin/copyright", 0o644);
    for (const script of ["postinst", "prerm", "postrm"]) place(path.join(here, "debian", script), `DEBIAN/${script}`, 0o755);
    const control = readFileSync(path.join(here, "debian/control"), "utf8").replace("@VERSION@", version).replace("@ARCHITECTURE@", architecture);
    writeFileSync(path.join(stage, "DEBIAN/control"), control);
    mkdirSync(path.join(stage, "usr/bin"), { recursive: true });
    for (const [name, file] of Object.entries(bin)) symlinkSync(`/${HOME}/${file}`, path.join(stage, "usr/bin", name));
    chmodSync(stage, 0o755);
    const target = path.join(folder, `matrix-myelin_${version}_${architecture}.deb`);
    const built = spawnSync("dpkg-deb", ["--root-owner-group", "-Zgzip", "--build", stage, target], { encoding: "utf8" });
    if (built.status !== 0) throw new Error(built.error?.message ?? built.stderr);
    return target;
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

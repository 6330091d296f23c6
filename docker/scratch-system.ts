import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

/** What maintainer scripts call that must not touch this machine: the calls are written down. */
const STAND_INS = ["adduser", "chown", "getent", "systemctl"];

export interface Outcome {
  readonly status: number | null;
  readonly output: string;
  /** What the maintainer scripts called, such as "systemctl daemon-reload". */
  readonly calls: readonly string[];
}

/** An empty Debian in a folder, into which dpkg installs, running maintainer scripts against that folder. Wants root, as dpkg does. */
export class ScratchSystem {
  readonly root = mkdtempSync(path.join(tmpdir(), "myelin-debian-"));
  private readonly programs = path.join(this.root, "stand-ins");
  private readonly record = path.join(this.root, "calls");

  /** @param systemd as if systemd were at work */
  constructor(systemd: boolean) {
    for (const folder of ["var/lib/dpkg/info", "var/lib/dpkg/updates", "stand-ins", ...(systemd ? ["run/systemd/system"] : [])])
      mkdirSync(this.inside(folder), { recursive: true });
    writeFileSync(this.inside("var/lib/dpkg/status"), "");
    writeFileSync(this.inside("var/lib/dpkg/available"), "");
    // getent finds nobody: the user is made.
    for (const name of STAND_INS)
      writeFileSync(
        path.join(this.programs, name),
        `#!/bin/sh\necho "${name} $*" | sed "s| ${this.root}/| /|g" >> ${this.record}\n${name === "getent" ? "exit 2" : ""}\n`,
        { mode: 0o755 },
      );
  }

  inside(file: string): string {
    return path.join(this.root, file);
  }

  /** Runs dpkg on this system, such as `dpkg("--install", file)`. */
  dpkg(...args: readonly string[]): Outcome {
    rmSync(this.record, { force: true });
    const done = spawnSync("dpkg", [`--root=${this.root}`, "--force-script-chrootless", "--force-depends", ...args], {
      encoding: "utf8",
      env: { ...process.env, LC_ALL: "C", PATH: `${this.programs}:${process.env["PATH"]}:/usr/sbin:/sbin` },
    });
    const calls = existsSync(this.record) ? readFileSync(this.record, "utf8").trim().split("\n") : [];
    return { status: done.status, output: done.stdout + done.stderr, calls };
  }

  /** Installs a package of a few files that stands for one of somebody else's. */
  installOther(name: string, files: Readonly<Record<string, string>>): Outcome {
    const stage = mkdtempSync(path.join(this.root, "other-"));
    const control = `Package: ${name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: stands for ${name}\n`;
    for (const [file, content] of Object.entries({ "DEBIAN/control": control, ...files })) {
      mkdirSync(path.dirname(path.join(stage, file)), { recursive: true });
      writeFileSync(path.join(stage, file), content);
    }
    const deb = this.inside(`${name}.deb`);
    const built = spawnSync("dpkg-deb", ["--root-owner-group", "--build", stage, deb], { encoding: "utf8" });
    if (built.status !== 0) throw new Error(built.stderr);
    return this.dpkg("--install", deb);
  }

  close(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

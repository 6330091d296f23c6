import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { scratchRoot } from "./scratch.ts";
import { installSynapse, SynapseUnavailable } from "./synapse.ts";

/** Lets the Synapse of this process's tests speak OpenID Connect, which needs a library that it does not bring along. @throws SynapseUnavailable */
export function provideAuthlib(): void {
  const python = installSynapse();
  if (imports(python)) return;
  const folder = join(scratchRoot(), "python-authlib");
  process.env["PYTHONPATH"] = folder;
  if (imports(python)) return;
  try {
    const options = { stdio: ["ignore", "ignore", "pipe"] as ["ignore", "ignore", "pipe"], timeout: 5 * 60_000 };
    execFileSync(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", folder, "authlib", "joserfc"], options);
  } catch {
    throw new SynapseUnavailable("authlib, which Synapse needs for OpenID Connect, could not be installed");
  }
}

function imports(python: string): boolean {
  try {
    execFileSync(python, ["-c", "import authlib.jose"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

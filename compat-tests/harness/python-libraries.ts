import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { scratchRoot } from "./scratch.ts";
import { installSynapse, SynapseUnavailable } from "./synapse.ts";

/** Lets the Synapse of this process's tests speak OpenID Connect, which needs a library that it does not bring along. @throws SynapseUnavailable */
export function provideAuthlib(): void {
  provide("authlib.jose", "python-authlib", ["authlib", "joserfc"], "authlib, which Synapse needs for OpenID Connect");
}

/**
 * Lets the Synapse of this process's tests speak SAML2. Beside the library that takes the command xmlsec1. Returns the interpreter that has it.
 * @throws SynapseUnavailable
 */
export function provideSaml(): string {
  try {
    execFileSync("xmlsec1", ["--version"], { stdio: "ignore" });
  } catch {
    throw new SynapseUnavailable("the command xmlsec1 is not here, which Synapse needs for SAML2");
  }
  const packages = ["pysaml2", "pytz", "xmlschema", "elementpath", "defusedxml", "python-dateutil", "six", "tzdata", "requests", "urllib3", "idna"];
  provide("saml2.server", "python-saml", [...packages, "charset_normalizer", "certifi"], "pysaml2, which Synapse needs for SAML2");
  return installSynapse();
}

/** Lets the Synapse of this process's tests preview pages. @throws SynapseUnavailable */
export function provideLxml(): void {
  provide("lxml.etree", "python-lxml", ["lxml"], "lxml, which Synapse needs for URL previews");
}

/** By their names alone, so that nothing that Synapse has is put in the shade of something newer. */
function provide(module: string, name: string, packages: readonly string[], what: string): void {
  const python = installSynapse();
  if (imports(python, module)) return;
  const folder = join(scratchRoot(), name);
  process.env["PYTHONPATH"] = folder;
  if (imports(python, module)) return;
  try {
    const options = { stdio: ["ignore", "ignore", "pipe"] as ["ignore", "ignore", "pipe"], timeout: 5 * 60_000 };
    execFileSync(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", folder, ...packages], options);
  } catch {
    throw new SynapseUnavailable(`${what}, could not be installed`);
  }
  if (!imports(python, module)) throw new SynapseUnavailable(`${what}, was installed and does not work`);
}

function imports(python: string, module: string): boolean {
  try {
    execFileSync(python, ["-c", `import ${module}`], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

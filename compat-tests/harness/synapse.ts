import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { scratchRoot } from "./scratch.ts";

/** The Synapse that Myelin takes the place of. */
export const SYNAPSE_VERSION = "1.160.0";

/** Real Synapse cannot be had here: no Python, or no package index. The suites skip with this word. */
export class SynapseUnavailable extends Error {}

/**
 * The Python of an environment that has Synapse of this version: MYELIN_SYNAPSE_VENV, else one in the scratch folder, made on the first call (some
 * minutes). @throws SynapseUnavailable
 */
export function installSynapse(version: string = SYNAPSE_VERSION): string {
  const given = process.env["MYELIN_SYNAPSE_VENV"];
  if (given !== undefined && given !== "" && version === SYNAPSE_VERSION) {
    const python = join(given, "bin", "python");
    if (installedVersion(python) !== version) throw new SynapseUnavailable(`MYELIN_SYNAPSE_VENV=${given} does not hold Synapse ${version}`);
    return python;
  }
  const venv = join(scratchRoot(), `synapse-${version}`);
  const python = join(venv, "bin", "python");
  if (installedVersion(python) === version) return python;
  const base = ["python3", "python3.13", "python3.12", "python3.11", "python3.10"].find((name) => {
    try {
      execFileSync(name, ["-c", "import sys, venv; assert sys.version_info >= (3, 10)"], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  });
  if (base === undefined) throw new SynapseUnavailable("No Python >= 3.10 here, so real Synapse cannot be installed");
  try {
    if (!existsSync(python)) execFileSync(base, ["-m", "venv", venv], { stdio: ["ignore", "ignore", "pipe"] });
    process.stderr.write(`Installing Synapse ${version} into ${venv} (some minutes, once) ...\n`);
    // psycopg2 is built from source where its headers are; elsewhere the ready-made wheel does the same.
    // Older ones did not know what their libraries would become.
    const libraries =
      version === SYNAPSE_VERSION
        ? []
        : [
            "prometheus-client<0.22",
            "Twisted<25",
            "treq<25",
            "pydantic<2.12",
            "attrs<25",
            "pyOpenSSL<25",
            "cryptography<45",
            "service-identity<25",
            "setuptools<81",
          ];
    execFileSync(
      python,
      [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        `matrix-synapse==${version}`,
        hasPgConfig() ? "psycopg2" : "psycopg2-binary",
        ...libraries,
      ],
      {
        stdio: ["ignore", "ignore", "pipe"],
        timeout: 20 * 60_000,
      },
    );
  } catch (error) {
    const detail = String((error as { stderr?: Buffer }).stderr ?? error)
      .trim()
      .split("\n")
      .slice(-2)
      .join(" ");
    throw new SynapseUnavailable(`Synapse ${version} could not be installed (no package index?): ${detail}`);
  }
  return python;
}

function hasPgConfig(): boolean {
  try {
    execFileSync("pg_config", ["--includedir"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** The installed version, read from the name of the package's folder; undefined when there is none. */
function installedVersion(python: string): string | undefined {
  if (!existsSync(python)) return undefined;
  const lib = join(python, "..", "..", "lib");
  for (const each of existsSync(lib) ? readdirSync(lib) : []) {
    const packages = join(lib, each, "site-packages");
    for (const name of existsSync(packages) ? readdirSync(packages) : []) {
      const version = /^matrix_synapse-(.+)\.dist-info$/.exec(name)?.[1];
      if (version !== undefined) return version;
    }
  }
  return undefined;
}

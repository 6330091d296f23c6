import { isMap, isScalar, parseDocument, type Node, type ScalarTag, type Tags } from "yaml";
import { ConfigError } from "./errors.ts";

/**
 * YAML as Python's PyYAML reads it (YAML 1.1 with its own exceptions), so that a file means to Myelin what it meant to Synapse:
 * `yes` is true, `y` a string, 0660 octal, 1e3 a string, dates stay text.
 */

const BOOL_TAG = "tag:yaml.org,2002:bool";
const FLOAT_TAG = "tag:yaml.org,2002:float";

const pyTrue: ScalarTag = { identify: () => false, default: true, tag: BOOL_TAG, test: /^(?:yes|Yes|YES|true|True|TRUE|on|On|ON)$/, resolve: () => true };
const pyFalse: ScalarTag = { identify: () => false, default: true, tag: BOOL_TAG, test: /^(?:no|No|NO|false|False|FALSE|off|Off|OFF)$/, resolve: () => false };
/** PyYAML wants a dot and a signed exponent. */
const pyFloat: ScalarTag = {
  identify: () => false,
  default: true,
  tag: FLOAT_TAG,
  test: /^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?)$/,
  resolve: (text) => Number.parseFloat(text.replaceAll("_", "")),
};

function pythonTags(tags: Tags): Tags {
  const kept = tags.filter((tag) => {
    if (typeof tag === "string") return true;
    const scalar = tag as ScalarTag;
    const isPlainFloat = scalar.tag === FLOAT_TAG && scalar.test?.test(".inf") !== true;
    return scalar.tag !== BOOL_TAG && !isPlainFloat && !scalar.tag.endsWith(":timestamp");
  });
  return [pyTrue, pyFalse, pyFloat, ...kept];
}

/** The value that the text stands for. @throws ConfigError with the file's name and the line */
export function parseYaml(text: string, file: string): unknown {
  const document = parseDocument(text, { version: "1.1", schema: "yaml-1.1", customTags: pythonTags, merge: true, uniqueKeys: false, prettyErrors: true });
  const problem = document.errors[0];
  if (problem !== undefined) {
    const line = problem.linePos?.[0].line;
    throw new ConfigError(`${file}${line === undefined ? "" : `, line ${line}`}: ${problem.message.split("\n")[0]}`);
  }
  keepConsentVersion(document.contents as Node | null);
  return document.toJS({ maxAliasCount: 1000 }) as unknown;
}

/** `user_consent.version: 1.0` means the text "1.0", which as a number would become "1": accounts have agreed to "1.0". */
function keepConsentVersion(root: Node | null): void {
  if (!isMap(root)) return;
  const version = root.getIn(["user_consent", "version"], true);
  if (isScalar(version) && typeof version.value === "number" && /[.]/.test(version.source ?? "")) {
    version.value = Number.isInteger(version.value) ? `${version.value}.0` : String(version.value);
  }
}

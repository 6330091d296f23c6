// Takes from a checkout of the Matrix specification (https://github.com/matrix-org/matrix-spec, Apache-2.0) what answers may look like: one
// JSON file with each operation of the client-server and the server-server API, its path and the schemas of its answers, without the prose.
//
//   git clone --depth 1 --branch v1.19 https://github.com/matrix-org/matrix-spec
//   node scripts/extract-openapi.mjs matrix-spec v1.19
//
// makes src/testing/openapi/matrix-spec.json, against which the tests and the fuzzer hold Myelin's answers. A third argument names another file.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import YAML from "yaml";
import { root } from "./prepare.mjs";

const [checkout, version, out = path.join(root, "src/testing/openapi/matrix-spec.json")] = process.argv.slice(2);
if (checkout === undefined || version === undefined) {
  console.error("usage: node scripts/extract-openapi.mjs <checkout of matrix-spec> <its version> [<file.json>]");
  process.exit(2);
}
const source = `https://github.com/matrix-org/matrix-spec/tree/${version}/data/api, condensed by scripts/extract-openapi.mjs`;

/** What says something about an answer; titles, examples and texts do not. */
const KEPT = [
  "type",
  "enum",
  "const",
  "required",
  "pattern",
  "minItems",
  "maxItems",
  "minimum",
  "maximum",
  "minLength",
  "maxLength",
  "oneOf",
  "anyOf",
  "allOf",
];
const documents = new Map();

function documentAt(file) {
  let document = documents.get(file);
  if (document === undefined) documents.set(file, (document = YAML.parse(readFileSync(file, "utf8"))));
  return document;
}

/** The value that a node stands for, and the file in which its own references are to be read. */
function resolve(node, file) {
  for (let hops = 0; typeof node?.$ref === "string" && hops < 20; hops++) {
    const [target, pointer] = node.$ref.split("#");
    if (target !== "") file = path.resolve(path.dirname(file), target);
    node = documentAt(file);
    for (const part of (pointer ?? "").split("/").filter(Boolean)) node = node?.[part.replaceAll("~1", "/").replaceAll("~0", "~")];
  }
  return { node, file };
}

function schemaOf(reference, from, trail = []) {
  const { node, file } = resolve(reference, from);
  // What holds itself is followed once.
  if (node === undefined || trail.includes(node)) return {};
  const inner = [...trail, node];
  const schema = {};
  for (const key of KEPT) {
    if (node[key] === undefined) continue;
    schema[key] = key.endsWith("Of") ? node[key].map((each) => schemaOf(each, file, inner)) : node[key];
  }
  for (const key of ["properties", "patternProperties"])
    if (node[key] !== undefined) schema[key] = Object.fromEntries(Object.entries(node[key]).map(([name, each]) => [name, schemaOf(each, file, inner)]));
  for (const key of ["items", "additionalProperties"])
    if (node[key] !== undefined) schema[key] = typeof node[key] === "object" ? schemaOf(node[key], file, inner) : node[key];
  return schema;
}

const jsonOf = (content, file) => {
  const json = content?.["application/json"];
  return json?.schema === undefined ? undefined : schemaOf(json.schema, file);
};

const operations = [];
for (const api of ["client-server", "server-server"]) {
  const folder = path.join(checkout, "data/api", api);
  for (const name of readdirSync(folder).sort()) {
    if (!name.endsWith(".yaml")) continue;
    const file = path.join(folder, name);
    const document = documentAt(file);
    const base = document.servers?.[0]?.variables?.basePath?.default ?? "";
    for (const [route, methods] of Object.entries(document.paths ?? {})) {
      for (const [method, operation] of Object.entries(methods)) {
        if (typeof operation?.operationId !== "string") continue;
        const answers = {};
        for (const [status, reference] of Object.entries(operation.responses ?? {})) {
          const { node, file: where } = resolve(reference, file);
          answers[status] = jsonOf(node?.content, where) ?? null;
        }
        operations.push({ id: operation.operationId, method: method.toUpperCase(), path: base + route, answers });
      }
    }
  }
}
const head = { source, license: "Apache-2.0", copyright: "The Matrix.org Foundation C.I.C. and contributors to the Matrix specification" };
const lines = operations.map((operation) => JSON.stringify(operation)).join(",\n");
writeFileSync(out, `${JSON.stringify(head).slice(0, -1)},"operations":[\n${lines}\n]}\n`);
console.log(`${operations.length} operations`);

// Takes from a checkout of the Matrix specification (https://github.com/matrix-org/matrix-spec) what answers may look like: one JSON file
// with each operation of the client-server API, its path and the schemas of its request and its answers, without the prose.
//
//   node scripts/extract-openapi.mjs <checkout> <file.json>
//
// MATRIX_OPENAPI=<file.json> then makes the tests and the fuzzer hold Myelin's answers against it.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import YAML from "yaml";

const [checkout, out] = process.argv.slice(2);
if (checkout === undefined || out === undefined) {
  console.error("usage: node scripts/extract-openapi.mjs <checkout of matrix-spec> <file.json>");
  process.exit(2);
}
const folder = path.join(checkout, "data/api/client-server");

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
      const { node: body, file: where } = resolve(operation.requestBody ?? {}, file);
      operations.push({ id: operation.operationId, method: method.toUpperCase(), path: base + route, request: jsonOf(body?.content, where) ?? null, answers });
    }
  }
}
writeFileSync(out, JSON.stringify({ operations }));
console.log(`${operations.length} operations`);

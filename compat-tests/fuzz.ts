import { parseArgs } from "node:util";
import { describeReport, fuzz } from "../src/testing/fuzz/fuzz.ts";
import { Contract } from "../src/testing/openapi/contract.ts";
import { stopTestDatabases } from "../src/testing/database.ts";

/**
 * `npm run fuzz -- [--requests 100000] [--seed 1] [--only Servlet] [--concurrency 8]`: sends right and wrong requests, made from the
 * route list, to a Myelin of its own, and tells every answer that no server should give, or not by the specification's schemas. The same
 * seed asks much the same.
 */
const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "100000" },
    seed: { type: "string", default: "1" },
    only: { type: "string" },
    concurrency: { type: "string", default: "8" },
    unused: { type: "boolean", default: false },
  },
});

const contract = Contract.ofSpecification();
let shown = 0;
const begun = performance.now();
const report = await fuzz({
  requests: Number(values.requests),
  seed: Number(values.seed),
  concurrency: Number(values.concurrency),
  ...(values.only === undefined ? {} : { only: new RegExp(values.only) }),
  onFailure: ({ servlet, what, request, answer }) => process.stderr.write(`${servlet}: ${what}\n  ${request}\n  -> ${answer}\n`),
  onProgress: (done) => {
    if (done < shown + 5000) return;
    shown = done;
    process.stderr.write(`${done} after ${Math.round((performance.now() - begun) / 1000)} s, ${Math.round(process.memoryUsage.rss() / 1e6)} MB\n`);
  },
});
process.stdout.write(`${describeReport(report)}\n`);
if (values.unused) process.stdout.write(`Operations without a success: ${contract.operationIds.filter((id) => !report.operations.has(id)).join(", ")}\n`);
if (values.unused)
  process.stdout.write(
    `Never a success: ${[...report.servlets]
      .filter((servlet) => !report.succeeded.has(servlet))
      .sort()
      .join(", ")}\n`,
  );
await stopTestDatabases();
process.exit(report.failures.length === 0 ? 0 : 1);

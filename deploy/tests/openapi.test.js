/** web/openapi.json by the rules of those who write many: https://redocly.com/docs/cli/rules. That it is what the code says, and leaves no route out, is a test of the server's; that answers are as described, schemathesis finds out. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "node:test";
import { lacks, repository } from "./weeziq.js";

test("the description of the HTTP interface keeps Redocly's strictest rules", { skip: lacks("OPENAPI_CORE") }, async () => {
  const { createConfig, lintFromString } = await import(pathToFileURL(process.env.OPENAPI_CORE).href);
  const config = await createConfig({ extends: ["recommended-strict"] });
  const lint = async (source) => {
    const problems = await lintFromString({ source, absoluteRef: "openapi.json", config });
    return problems.map((problem) => `${problem.ruleId} at ${problem.location?.[0]?.pointer}: ${problem.message}`);
  };
  const source = readFileSync(join(repository, "web", "openapi.json"), "utf8");
  assert.deepEqual(await lint(source), []);
  assert.notDeepEqual(await lint(source.replace('"operationId": "ask",', "")), [], "it would have seen something");
});

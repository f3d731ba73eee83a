/**
 * @module `npm test`: every check of this repository in one command, stage after stage. `npm test
 * -- --only unit,tidy` runs some of them (with the build first where they need it). Exit status 1
 * if anything failed, 2 for a bad option.
 */

import { parseArgs } from "node:util";
import { printHeader, printProgress, printStage, printSummary } from "./testing/report.mjs";
import { stages } from "./testing/stages.mjs";

/** @typedef {import("./testing/check.mjs").Stage} Stage */
/** @typedef {import("./testing/check.mjs").Check} Check */

/**
 * @param {string} message
 * @returns {never}
 */
function refuse(message) {
  process.stderr.write(`npm test: ${message}\n`);
  process.exit(2);
}

const stageIds = stages.map((stage) => stage.id).join(", ");

const help = `Usage: npm test [-- options]

Runs every check of this repository, stage after stage. The last line is "N passed, N failed".

  --only STAGES  some stages, separated by commas; the build runs first where they need it:
                 ${stageIds}
  -h, --help     this text

Exit status: 0, 1 if a check failed, 2 for a bad option.
`;

/** @returns {string | undefined} */
function readOnlyOption() {
  try {
    const { values } = parseArgs({
      options: { only: { type: "string" }, help: { type: "boolean", short: "h" } },
    });
    if (values.help === true) {
      process.stdout.write(help);
      process.exit(0);
    }
    return values.only;
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
}

/** @returns {readonly Stage[]} */
function chosenStages() {
  const only = readOnlyOption();
  if (only === undefined) return stages;
  const ids = new Set(only.split(",").map((id) => id.trim()));
  for (const id of ids) {
    if (stages.some((stage) => stage.id === id)) continue;
    refuse(`there is no stage "${id}"; there are ${stageIds}`);
  }
  const needsBuild = stages.some((stage) => ids.has(stage.id) && stage.needsBuild);
  return stages.filter((stage) => ids.has(stage.id) || (stage.id === "build" && needsBuild));
}

/**
 * @param {Stage} stage
 * @returns {Promise<Check[]>}
 */
async function runStage(stage) {
  try {
    const checks = await stage.run((done) => printProgress(stage.title, done));
    if (checks.length > 0) return checks;
    return [{ name: stage.title, result: "failed", detail: "found no test at all" }];
  } catch (error) {
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return [{ name: stage.title, result: "failed", detail: `the stage itself broke\n${detail}` }];
  }
}

const chosen = chosenStages();
const outcomes = [];
printHeader();
for (const stage of chosen) {
  printProgress(stage.title, 0);
  const startMs = performance.now();
  const checks = await runStage(stage);
  const outcome = {
    id: stage.id,
    title: stage.title,
    checks,
    seconds: (performance.now() - startMs) / 1000,
  };
  printStage(outcome);
  outcomes.push(outcome);
}
process.exitCode = printSummary(outcomes) ? 0 : 1;

/** @module The stages of `npm test`, in their order: the cheap and telling ones first. */

import { checkFromCommand, checkTool } from "./check.mjs";
import { checkExamples } from "./examples.mjs";
import { consumerKinds, runNodeTests } from "./node-tests.mjs";
import { checkPackage } from "./package.mjs";
import { rootPath, runCommand } from "./run-command.mjs";
import { installTools } from "./install-tools.mjs";

/** @typedef {import("./check.mjs").Stage} Stage */

const minuteMs = 60_000;

/**
 * A stage of node:test files.
 * @param {import("./node-tests.mjs").TestKind} kind
 * @param {{ concurrency: number, timeoutMs: number }} options
 * @returns {Stage}
 */
function testStage(kind, { concurrency, timeoutMs }) {
  return {
    id: kind,
    title: kind,
    needsBuild: true,
    run: (onProgress) => runNodeTests(kind, { concurrency, timeoutMs, onProgress }),
  };
}

/**
 * A stage of tests with tools that are installed for it (install-tools.mjs).
 * @param {import("./node-tests.mjs").ConsumerKind} kind
 * @returns {Stage}
 */
function consumerStage(kind) {
  const stage = testStage(kind, { concurrency: 1, timeoutMs: 15 * minuteMs });
  return {
    ...stage,
    run: async (onProgress) => {
      await installTools(`test/${kind}`);
      return await stage.run(onProgress);
    },
  };
}

/** @type {readonly Stage[]} */
export const stages = [
  {
    id: "build",
    title: "build",
    needsBuild: false,
    // Types are judged by the next stage, so that a type error does not keep the tests from
    // running.
    run: async () => [
      await checkTool("src into dist", "tsc", ["-p", "tsconfig.build.json", "--noCheck"]),
      await checkTool("everything into .build", "tsc", ["-p", "tsconfig.json", "--noCheck"]),
      checkFromCommand(
        "no built file without its source",
        await runCommand(process.execPath, [`${rootPath}scripts/prune-built.mjs`]),
      ),
      checkFromCommand(
        "imports by a URL are plain",
        await runCommand(process.execPath, [
          `${rootPath}scripts/plain-imports.mjs`,
          "dist",
          ".build",
        ]),
      ),
      checkFromCommand(
        "stepping forms are derived",
        await runCommand(process.execPath, [
          `${rootPath}scripts/derive-steps.mjs`,
          "dist",
          ".build",
        ]),
      ),
      checkFromCommand(
        "a device's Worker is joined in one file",
        await runCommand(process.execPath, [
          `${rootPath}scripts/join-worker.mjs`,
          "dist",
          ".build",
        ]),
      ),
      checkFromCommand(
        "entries in one file each",
        await runCommand(process.execPath, [`${rootPath}scripts/one-file.mjs`]),
      ),
    ],
  },
  {
    id: "types",
    title: "types",
    needsBuild: false,
    run: async () => [
      await checkTool("sources and tests", "tsc", [
        "-p",
        "tsconfig.json",
        "--noEmit",
        "--incremental",
        "false",
      ]),
      await checkTool("scripts", "tsc", ["-p", "tsconfig.scripts.json"]),
    ],
  },
  {
    id: "lint",
    title: "lint",
    needsBuild: false,
    run: async () => [await checkTool("oxlint", "oxlint", [])],
  },
  {
    id: "format",
    title: "format",
    needsBuild: false,
    run: async () => [await checkTool("oxfmt", "oxfmt", ["--check"])],
  },
  testStage("tidy", { concurrency: 2, timeoutMs: 5 * minuteMs }),
  testStage("unit", { concurrency: 2, timeoutMs: 10 * minuteMs }),
  testStage("threads", { concurrency: 1, timeoutMs: 10 * minuteMs }),
  testStage("browser", { concurrency: 1, timeoutMs: 5 * minuteMs }),
  { id: "examples", title: "examples", needsBuild: true, run: checkExamples },
  ...consumerKinds.map((kind) => consumerStage(kind)),
  // After the hosts, whose Nodes it installs the package under.
  { id: "package", title: "package", needsBuild: true, run: checkPackage },
];

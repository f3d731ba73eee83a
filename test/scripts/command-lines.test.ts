/**
 * The long commands of the project say what they do, and say in one line what is wrong with their
 * options, with exit status 2.
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

interface Command {
  readonly name: string;
  /** From the root of the repository. */
  readonly path: string;
  readonly wrong: readonly (readonly string[])[];
}

const COMMANDS: readonly Command[] = [
  {
    name: "kills",
    path: ".build/test/kills/main.js",
    wrong: [
      ["--only", "x"],
      ["--each", "-1"],
      ["--each", "0"],
      ["--jobs", "0"],
    ],
  },
  { name: "soak", path: ".build/test/soak/main.js", wrong: [["--minutes", "0"]] },
  {
    name: "linux",
    path: ".build/test/linux/compare-linux.js",
    wrong: [
      ["--traces", "many"],
      ["--traces", "0"],
    ],
  },
  {
    name: "oracle",
    path: ".build/stepped/test/checker/oracle/main.js",
    wrong: [
      ["--programs", "1.5"],
      ["--programs", "0"],
      ["--program", "{"],
      ["--program", "[]"],
    ],
  },
  {
    name: "check:counts",
    path: ".build/stepped/test/checker/check-counts.js",
    wrong: [["--only", "no such row"]],
  },
  {
    name: "mutants",
    path: "scripts/mutants.mjs",
    wrong: [
      ["--shard", "3"],
      ["--tests", "some"],
      ["--seconds", "x"],
      ["--jobs", "0"],
      ["--kind", "odd"],
    ],
  },
];

const root = fileURLToPath(new URL("../../../", import.meta.url));

for (const { name, path, wrong } of COMMANDS) {
  describe(`npm run ${name}`, () => {
    const run = (args: readonly string[]): { status: number | null; out: string; err: string } => {
      const { status, stdout, stderr } = spawnSync(process.execPath, [path, ...args], {
        cwd: root,
        encoding: "utf8",
        env: { PATH: process.env["PATH"] },
      });
      return { status, out: stdout, err: stderr };
    };

    test("--help", () => {
      const { status, out, err } = run(["--help"]);
      assert.deepEqual([status, err], [0, ""]);
      assert.ok(out.startsWith(`npm run ${name} -- [options]: `), out);
      assert.ok(out.split("\n").length > 2);
    });

    for (const args of [["--no-such-option"], ["stray"], ...wrong]) {
      test(args.join(" "), () => {
        const { status, out, err } = run(args);
        assert.deepEqual([status, out], [2, ""]);
        assert.match(err, /^[^\n]+\n$/);
        assert.ok(err.startsWith(`npm run ${name}: `), err);
      });
    }
  });
}

test("npm run docs refuses a document that there is not", () => {
  const args = ["scripts/docs.mjs", "errors", "no-such-document"];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: root,
    encoding: "utf8",
  });
  assert.deepEqual([status, stdout], [2, ""]);
  assert.match(
    stderr,
    /^npm run docs: there is no "no-such-document"; there are docs\/LOCKING\.md/,
  );
});

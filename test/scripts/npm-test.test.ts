/**
 * @module `npm test` tested on small projects made up for it: what it must count, what it must call
 * failed, and what its last line and exit status say. Each project is a folder with this
 * repository's scripts/ and node_modules/.
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const rootPath = fileURLToPath(new URL("../../../", import.meta.url));
const copied = [
  "scripts",
  "package.json",
  "tsconfig.base.json",
  "tsconfig.json",
  "tsconfig.build.json",
  "types",
];
const index = `/** What the answer is. */\nexport const answer: number = 42;\n`;

/** The other entries of the package, which the build looks for. */
const entries = Object.fromEntries(
  [
    "src/worker.ts",
    "src/driver.ts",
    "src/webgpu.ts",
    "src/conformance/index.ts",
    "src/checker/index.ts",
    "src/devices/software/device-worker.ts",
    "src/devices/webgpu/webgpu-worker.ts",
  ].map((path) => [path, "export {};\n"]),
);

/** Checks of the stage `build`, which runs before the others. */
const BUILD = 7;

interface Outcome {
  readonly status: number | null;
  readonly output: string;
  readonly lastLine: string;
}

/** Runs some stages in a project of the given files, by path. */
function runStages(only: string, files: Readonly<Record<string, string>>): Outcome {
  const folder = mkdtempSync(join(tmpdir(), "hmm-ts-npm-test-"));
  try {
    for (const name of copied)
      cpSync(join(rootPath, name), join(folder, name), { recursive: true });
    symlinkSync(join(rootPath, "node_modules"), join(folder, "node_modules"));
    for (const [path, text] of Object.entries({ "src/index.ts": index, ...entries, ...files })) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    // Or node:test would take the runner in there for a part of this test run, and run nothing.
    const { NODE_TEST_CONTEXT: _ours, ...env } = process.env;
    const args = ["scripts/test.mjs", "--only", only];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, {
      cwd: folder,
      env,
      encoding: "utf8",
    });
    return { status, output: stdout + stderr, lastLine: stdout.trimEnd().split("\n").at(-1) ?? "" };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function testFile(body: string): string {
  return `import assert from "node:assert/strict";\nimport { describe, test } from "node:test";\n${body}\n`;
}

test("npm test counts tests and ends with the closing line", () => {
  const body = `test("a", () => assert.ok(true));
    describe("b", () => { test("c", async (t) => { await t.test("d", () => {}); }); });`;
  const { status, lastLine } = runStages("unit", { "test/a.test.ts": testFile(body) });
  assert.equal(lastLine, `${BUILD + 3} passed, 0 failed`);
  assert.equal(status, 0);
});

test("npm test tells of tests that fail, that are skipped, and of files that run none", () => {
  const { status, output, lastLine } = runStages("unit", {
    "test/bad.test.ts": testFile(`test("wrong", () => assert.equal(1, 2)); assert.ok(describe);`),
    "test/skip.test.ts": testFile(
      `test("later", { skip: "no such device" }, () => {}); assert.ok(describe);`,
    ),
    "test/none.test.ts": `export {};\n`,
    "test/exit.test.ts": testFile(`test("x", () => {}); process.exit(7); assert.ok(describe);`),
    "test/good.test.ts": testFile(`test("right", () => {}); assert.ok(describe);`),
  });
  assert.equal(lastLine, `${BUILD + 1} passed, 3 failed, 1 skipped`);
  assert.equal(status, 1);
  assert.match(output, /bad\.test\.js: wrong\n\s+AssertionError/);
  assert.match(output, /none\.test\.js\n\s+ran no test at all/);
  assert.match(output, /1 did not run: no such device/);
});

test("npm test fails a stage that finds no test", () => {
  const { status, output, lastLine } = runStages("unit", {});
  assert.match(output, /found no test at all/);
  assert.equal(lastLine, `${BUILD} passed, 1 failed`);
  assert.equal(status, 1);
});

test("npm test runs the tests of a project whose types are wrong, and tells", () => {
  const files = {
    "test/a.test.ts": testFile(`const n: number = "x"; test("a", () => assert.ok(n)); describe;`),
  };
  const { status, output, lastLine } = runStages("types,unit", files);
  assert.match(output, /test\/a\.test\.ts\(3,7\): error TS2322/);
  assert.match(lastLine, /^\d+ passed, \d+ failed$/);
  assert.match(output, /unit +ok/);
  assert.equal(status, 1);
});

test("npm test starts the files that use Workers in their own stage", () => {
  const worker = testFile(
    `import { Worker } from "node:worker_threads"; test("w", () => assert.ok(Worker)); assert.ok(describe);`,
  );
  const files = { "test/w.test.ts": worker };
  assert.equal(runStages("threads", files).lastLine, `${BUILD + 1} passed, 0 failed`);
  assert.equal(runStages("unit", files).lastLine, `${BUILD} passed, 1 failed`);
});

const readme = `# Title

\`\`\`ts
import { answer } from "hmm-ts";
if (answer !== 42) throw new Error("no");
\`\`\`

\`\`\`ts file=other.ts
export const other: number = 1;
\`\`\`

\`\`\`ts
import { other } from "./other.ts";
if (other !== 1) throw new Error("no");
\`\`\`

\`\`\`ts no-run
throw new Error("not run");
\`\`\`

\`\`\`ts fragment
this is not TypeScript
\`\`\`
`;

test("npm test compiles and runs the documentation's code", () => {
  const { status, output, lastLine } = runStages("examples", { "README.md": readme });
  assert.equal(lastLine, `${BUILD + 4} passed, 0 failed`, output);
  assert.equal(status, 0);
});

test("npm test catches documentation that does not compile, or throws, with the line it stands on", () => {
  const { status, output, lastLine } = runStages("examples", {
    "README.md": `# Title\n\n\`\`\`ts\nimport { question } from "hmm-ts";\nquestion();\n\`\`\`\n`,
    "docs/A.md": `\`\`\`ts\nthrow new Error("broken example");\n\`\`\`\n`,
    "src/b.ts": `/**\n * Does it.\n * @example\n * \`\`\`ts\n * const n: number = "x";\n * \`\`\`\n */\nexport const b: number = 1;\n`,
  });
  assert.match(output, /README\.md:4: error TS2305/);
  assert.match(output, /docs\/A\.md:1 compiles and runs\n[^]*broken example/);
  assert.match(output, /src\/b\.ts:5: error TS2322/);
  assert.equal(lastLine, `${BUILD} passed, 3 failed`);
  assert.equal(status, 1);
});

test("npm test fails when no documentation has code", () => {
  const { output, status } = runStages("examples", { "README.md": "# Title\n" });
  assert.match(output, /found no test at all/);
  assert.equal(status, 1);
});

test("npm test refuses what it does not know", () => {
  const { output, status } = runStages("nothing", {});
  assert.match(output, /there is no stage "nothing"/);
  assert.equal(status, 2);
});

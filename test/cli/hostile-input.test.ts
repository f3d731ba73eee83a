/**
 * @module What others give the command: tokens, files, modules of scenarios. Whatever they are, it
 * ends with one line and status 2, or with a row that says what is wrong with a scenario.
 */

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";

import { CheckpointError, parseCheckpoint } from "../../src/checker/session/checkpoint.ts";
import { parseToken } from "../../src/checker/findings/token.ts";
import { type Run, hmm } from "./run-hmm.ts";

const main = fileURLToPath(new URL("../../command/src/main.js", import.meta.url));
const own = fileURLToPath(new URL("./own-scenarios.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "hmm-hostile-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** One line, and status 2. */
async function refused(expected: RegExp, ...args: string[]): Promise<void> {
  const { status, out, err } = await hmm(...args);
  assert.match(err, expected);
  assert.deepEqual([status, out, err.trimEnd().split("\n").length], [2, "", 1]);
}

let files = 0;

function fileOf(text: string, extension: string = "json"): string {
  const path = join(folder, `file-${files++}.${extension}`);
  writeFileSync(path, text);
  return path;
}

/** A module whose one scenario has this `setup` and this task. */
function moduleOf(task: string, setup: string = "return memory;"): string {
  return fileOf(
    `export default {
  name: "mine",
  setup(memory) { ${setup} },
  tasks: { a: function* () { ${task} }, b: function* () {} },
};\n`,
    "mjs",
  );
}

test("a token that stands for a huge schedule is refused", async () => {
  await refused(/more than 1000000 steps/, "replay", "patches/01/before@h1-a999999999");
  await refused(
    /more than 1000000 steps/,
    "replay",
    `patches/01/before@h1-${"a999999b".repeat(3)}`,
  );
  await refused(/nothing known stands at character 4/, "replay", "patches/01/before@h1-%");
});

test("a token of any text is read, or refused as such", () => {
  const token = fc.oneof(fc.string(), fc.stringMatching(/^h1-[~!X?^a-e0-9]*$/));
  fc.assert(
    fc.property(token, (text) => {
      try {
        assert.ok(parseToken(text).length <= 1_000_000);
      } catch (error) {
        assert.ok(error instanceof SyntaxError);
      }
    }),
  );
});

test("what is no file is not imported", async () => {
  await refused(/no regular file/, "replay", "/dev/zero@h1-a1");
  await refused(/no regular file/, "check", folder);
  await refused(/no regular file/, "check", "/dev/null");
  await refused(/no such file/, "check", join(folder, "none.mjs"));
  await refused(/no path of a file/, "check", "file:%00");
});

test("a checkpoint of any JSON is a CheckpointError", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const forms = [value, { format: "hmm-checkpoint", version: 3, state: value }];
      for (const form of forms)
        assert.throws(() => parseCheckpoint(JSON.stringify(form)), CheckpointError);
    }),
  );
});

test("files of another shape are refused: checkpoints, states, parts", async () => {
  const question = JSON.stringify({ args: [own] });
  const checkpoint = { version: 1, question, done: {}, underWay: {} };
  const state = { version: 1, seed: 1, next: 0, lessons: [] };
  const part = { version: 1, part: "check", question: "", seconds: 1, scenarios: [], rows: [] };
  const fuzzPart = {
    ...part,
    part: "fuzz",
    shard: { part: 1, of: 1 },
    seed: 1,
    programs: 1,
    executions: 1,
    signals: [],
    functions: { ran: [], missed: [] },
    findings: [],
  };
  const rows: readonly (readonly [string[], unknown])[] = [
    [["check", own, "--checkpoint"], null],
    [["check", own, "--checkpoint"], { ...checkpoint, done: { [`${own}#locked`]: {} } }],
    [["check", own, "--checkpoint"], { ...checkpoint, done: 1 }],
    [["check", own, "--checkpoint"], { ...checkpoint, underWay: { x: {} } }],
    [["fuzz", "--state"], { ...state, lessons: [{}] }],
    [["fuzz", "--state"], { ...state, lessons: [{ program: { tasks: null }, signals: [] }] }],
    [["fuzz", "--state"], { ...state, seconds: "long" }],
    [["merge"], [1]],
    [["merge"], { ...part, shard: { part: 1, of: 1e15 } }],
    [["merge"], { ...part, shard: { part: 2, of: 1 } }],
    [["merge"], { ...part, shard: { part: 1, of: 1 }, rows: [{ row: { findings: [{}] } }] }],
    [["merge"], { ...fuzzPart, findings: [{}] }],
    [["merge"], { ...fuzzPart, functions: { ran: [1] } }],
  ];
  for (const [args, value] of rows)
    await refused(/^hmm: Cannot /, ...args, fileOf(JSON.stringify(value)));
  for (const args of [["check", own, "--checkpoint"], ["fuzz", "--state"], ["merge"]]) {
    await refused(/^hmm: Cannot /, ...args, fileOf("{"));
    await refused(/no regular file/, ...args, "/dev/zero");
  }
});

test("where nothing can be written is said before the work", async () => {
  const missing = join(folder, "missing", "page.html");
  const taken = fileOf("");
  await refused(/there is no folder/, "check", "holes/parked", "--html", missing);
  await refused(/it is a folder/, "check", "holes/parked", "--html", folder);
  await refused(/there is no folder/, "check", "holes/parked", "--checkpoint", missing);
  await refused(/there is no folder/, "replay", "holes/parked/before@h1-a", "--html", missing);
  await refused(/there is no folder/, "fuzz", "--state", missing, "--output", folder);
  await refused(/Cannot write/, "fuzz", "--output", join(taken, "below"));
  assert.ok(!existsSync(join(folder, "missing")));
});

test("an import that does not come back is ended, and named", async () => {
  const seconds = ["--load-seconds", "1"];
  const loops = fileOf("for (;;);", "mjs");
  await refused(/did not come back in 1 s/, "check", loops, ...seconds);
  await refused(/did not come back in 1 s/, "replay", `${loops}@h1-a`, ...seconds);
  const waits = fileOf("await new Promise(() => {});\nexport default [];", "mjs");
  await refused(/awaits what never settles/, "check", waits, ...seconds);
  const busy = fileOf("setInterval(() => {}, 1000);\nawait new Promise(() => {});", "mjs");
  await refused(/did not come back in 1 s/, "check", busy, ...seconds);
});

test("a module that ends the process, or throws later, is a failure whatever it asked for", async () => {
  await refused(/it ended the command's thread/, "check", fileOf("process.exit(0);", "mjs"));
  const late = fileOf(
    'setTimeout(() => { throw new Error("late"); }, 0);\nawait new Promise((resolve) => setTimeout(resolve, 60_000));',
    "mjs",
  );
  await refused(/it threw Error: late/, "check", late);
  for (const jobs of ["1", "2"]) {
    const { status, out } = await hmm("check", moduleOf("process.exit(0);"), "--jobs", jobs);
    assert.equal(status, 2);
    assert.match(out, /could not be explored/);
  }
});

test("modules that export odd things are refused", async () => {
  const odd: readonly (readonly [expected: RegExp, text: string])[] = [
    [/exports no scenario/, "export default null;"],
    [/exports no scenario/, "export default { name: 1, setup() {}, tasks: {} };"],
    [/its export `then`/, "export function then(resolve) { resolve(1); }"],
    [/has no tasks/, 'export default { fuzz: 1, name: "x", tasks: null };'],
    [/control characters/, 'export default { name: "\\u001b[2J", setup() {}, tasks: {} };'],
    [/Cannot import .*: no/, 'export default { get name() { throw new Error("no"); } };'],
    [/Cannot import/, "export default ("],
    [/Cannot import/, 'import "./nothing-there.mjs";'],
  ];
  for (const [expected, text] of odd) await refused(expected, "check", fileOf(text, "mjs"));
});

test("a scenario that loops in its setup or in a task is told as such", async () => {
  const loops = [moduleOf("for (;;);"), moduleOf("", "for (;;);")];
  for (const [i, path] of loops.entries()) {
    const jobs = String(i + 1);
    const { status, out } = await hmm("check", path, "--load-seconds", "1", "--jobs", jobs);
    assert.equal(status, 1);
    assert.match(out, /did not come back in 1 s.*a loop without `yield\*`/);
  }
});

test("a scenario beside one that loops is explored all the same", async () => {
  const path = fileOf(
    `const one = (name, task) => ({ name, setup: (memory) => memory, tasks: { a: task, b: function* () {} } });
export default [one("loops", function* () { for (;;); }), one("fine", function* () {})];\n`,
    "mjs",
  );
  const { status, out } = await hmm("check", path, "--load-seconds", "1", "--jobs", "2");
  assert.equal(status, 1);
  assert.match(out, /#fine +✓ ok/);
});

/** Sends SIGINT once `sign` has been printed; the status, and all that was printed. */
async function interrupted(sign: RegExp, ...args: string[]): Promise<Run> {
  const child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const text = { out: "", err: "" };
  let isSent = false;
  const look = (): void => {
    if (!isSent && sign.test(text.out + text.err)) isSent = child.kill("SIGINT");
  };
  child.stdout.on("data", (part: Buffer) => {
    text.out += String(part);
    look();
  });
  child.stderr.on("data", (part: Buffer) => {
    text.err += String(part);
    look();
  });
  const status = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { status: status ?? -1, ...text };
}

test("Ctrl-C ends a scenario that loops, wherever it does", async () => {
  const loop = "process.getBuiltinModule('fs').writeSync(2, 'looping\\n'); for (;;);";
  const forms: readonly (readonly string[])[] = [
    [fileOf(loop, "mjs")],
    [moduleOf(loop), "--jobs", "1"],
    [moduleOf(loop), "--jobs", "2"],
  ];
  for (const form of forms) {
    const { status, err } = await interrupted(
      /looping/,
      "check",
      ...form,
      "--load-seconds",
      "3600",
    );
    assert.equal(status, 130);
    assert.match(err, /Stopped/);
  }
});

test("a printed command is one that a shell takes, whatever the path", async () => {
  const made = moduleOf('throw new Error("wrong")');
  const path = join(folder, 'it\'s #1 @ $HOME `a` "b".mjs');
  renameSync(made, path);
  const { status, out } = await hmm("check", path);
  assert.equal(status, 1, out);
  const line = /^ *(hmm replay .*)$/m.exec(out)?.[1] ?? "";
  const whole = `hmm() { "$NODE" "$MAIN" "$@"; }; ${line}`;
  const env = { ...process.env, NODE: process.execPath, MAIN: main };
  const replayed = spawnSync("/bin/sh", ["-c", whole], { env, encoding: "utf8" });
  assert.equal(replayed.stderr, "");
  assert.equal(replayed.status, 1, replayed.stdout);
  assert.ok(replayed.stdout.includes(line), replayed.stdout);
});

/** `hmm check` and `hmm replay` as their users meet them. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { parseCheckpoint } from "../../src/checker/session/checkpoint.ts";
import { doJob } from "../../command/src/check/explore-job.ts";
import type { CheckRow } from "../../command/src/check/check-row.ts";
import { type Run, hmm } from "./run-hmm.ts";

const own = fileURLToPath(new URL("./own-scenarios.js", import.meta.url));
const endless = fileURLToPath(new URL("./long-scenario.js", import.meta.url));
const main = fileURLToPath(new URL("../../command/src/main.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "hmm-check-"));
after(() => rmSync(folder, { recursive: true, force: true }));

async function rowsOf(
  ...args: string[]
): Promise<{ readonly status: number; readonly rows: readonly CheckRow[] }> {
  const { status, out, err } = await hmm("check", ...args, "--json", "--jobs", "1");
  assert.equal(err, "");
  return { status, rows: JSON.parse(out) as CheckRow[] };
}

test("a group of scenarios: a table with a row for each, in their order, and a summary", async () => {
  const { status, out, err } = await hmm("check", "holes/parked", "--jobs", "2");
  assert.deepEqual([status, err], [0, ""]);
  const [head = "", before = "", behind = "", blank = "", summary = ""] = out.split("\n");
  assert.match(head, /^scenario +verdict +classes +time +coverage$/);
  assert.match(before, /^holes\/parked\/before +✓ lost-wakeup +\d+ +[\d.]+ m?s +complete$/);
  assert.match(behind, /^holes\/parked\/after +✓ ok +\d+ +[\d.]+ m?s +complete$/);
  assert.equal(blank, "");
  assert.match(
    summary,
    /^2 scenarios in .*; 1 sound, nothing found; 1 broken, caught as expected; no surprise$/,
  );
});

test("the JSON has what is promised, and nothing else", async () => {
  const { status, rows } = await rowsOf("holes/parked");
  assert.equal(status, 0);
  const words =
    "scenario verdict expected engine complete bound classes executions blocked seconds findings".split(
      " ",
    );
  for (const row of rows) assert.deepEqual(Object.keys(row), words);
  const [before, behind] = rows;
  assert.ok(before !== undefined && behind !== undefined);
  assert.deepEqual(
    [before.verdict, before.expected, before.complete, before.bound],
    ["finding", "finding", true, null],
  );
  assert.deepEqual([behind.verdict, behind.expected, behind.findings], ["ok", "ok", []]);
  const [finding] = before.findings;
  assert.ok(finding !== undefined);
  assert.deepEqual(Object.keys(finding), [
    "kind",
    "message",
    "token",
    "threads",
    "steps",
    "preemptions",
  ]);
  assert.equal(finding.kind, "lost-wakeup");
  assert.match(finding.token, /^holes\/parked\/before@h1-/);
  assert.ok(finding.steps > 0 && finding.preemptions > 0 && finding.threads.length > 0);
});

test("a module's scenarios are judged by what they expect, and a surprise is exit status 1", async () => {
  const { status, rows } = await rowsOf(own);
  assert.equal(status, 1);
  const names = rows.map(({ scenario }) => scenario.slice(scenario.indexOf("#") + 1));
  assert.deepEqual(names, ["locked", "unlocked", "surprising", "other-kind", "not-broken"]);
  assert.deepEqual(
    rows.map(({ verdict, expected }) => `${verdict} ${expected}`),
    ["ok ok", "finding finding", "finding ok", "finding finding", "ok finding"],
  );
  const { out } = await hmm("check", own);
  const verdicts = [...out.matchAll(/#\S+ +([✓✗] .*?) {2,}/g)].map((match) => match[1]);
  assert.deepEqual(verdicts, [
    "✓ ok",
    "✓ assertion",
    "✗ assertion",
    "✗ no deadlock, assertion",
    "✗ no deadlock",
  ]);
  assert.match(out, /; 3 surprises\n$/);
  const timelines = new Set([...out.matchAll(/hmm replay '?\S+#(\S+)@/g)].map((match) => match[1]));
  assert.ok(timelines.has("surprising") && timelines.has("other-kind"), "surprises are shown");
  assert.ok(!timelines.has("unlocked"), "what was expected is not");
});

test("--show shows expected findings, and so does asking for one scenario alone", async () => {
  assert.doesNotMatch((await hmm("check", "holes/parked")).out, /hmm replay/);
  assert.match(
    (await hmm("check", "holes/parked", "--show")).out,
    /hmm replay .*holes\/parked\/before@h1-/,
  );
  assert.match(
    (await hmm("check", "holes/parked/before")).out,
    /hmm replay .*holes\/parked\/before@h1-/,
  );
});

test("replay shows what check showed, word for word", async () => {
  const checked = await hmm("check", "holes/parked/before");
  const token = /holes\/parked\/before@h1-[^\s']+/.exec(checked.out)?.[0] ?? "";
  const replayed = await hmm("replay", token);
  assert.deepEqual([replayed.status, replayed.err], [0, ""]);
  assert.match(replayed.out, /sleeps on .*; nobody is left to wake it/);
  assert.match(replayed.out, /The nearest passing schedule/);
  assert.ok(checked.out.includes(replayed.out));
  const recording = JSON.parse((await hmm("replay", token, "--json")).out) as {
    readonly replay: string;
  };
  assert.equal(recording.replay, token);
});

test("a finding in a module of the user's is replayed by its path", async () => {
  const { rows } = await rowsOf(own);
  const token = rows[2]?.findings[0]?.token ?? "";
  assert.ok(token.startsWith(`${own}#surprising@h1-`));
  const { status, out } = await hmm("replay", token);
  assert.equal(status, 1, "nobody expects it");
  assert.match(out, /counted 1, not 2/);
});

test("engines and bounds can be chosen", async () => {
  for (const engine of ["optimal", "source", "sleep", "naive", "bounded"]) {
    const { status, rows } = await rowsOf("coverage/sync/mutex/without-lock", "--engine", engine);
    assert.deepEqual([status, rows[0]?.engine, rows[0]?.complete], [0, engine, true], engine);
  }
  const { rows: optimal } = await rowsOf("coverage/sync/rwsem");
  assert.equal(optimal[0]?.blocked, 0);
  const { rows: bounded } = await rowsOf("coverage/sync/rwsem", "--preemptions", "1");
  assert.deepEqual([bounded[0]?.engine, bounded[0]?.bound], ["bounded", 1]);
  for (const engine of ["random", "pct", "pos"]) {
    const runs = await Promise.all(
      [1, 2].map(() =>
        rowsOf("coverage/sync/mutex/without-lock", "--engine", engine, "--seed", "7"),
      ),
    );
    const [one, two] = runs.map(({ rows }) => ({ ...rows[0], seconds: 0 }));
    assert.deepEqual(one, two, `${engine} repeats itself`);
    assert.equal(one?.complete, false);
  }
});

test("one scenario is explored by several threads with the same result", async () => {
  const name = "coverage/sync/wait-queue/wake-first";
  const [alone] = (await rowsOf(name)).rows;
  const together = await hmm("check", name, "--json", "--jobs", "2");
  assert.equal(together.status, 0);
  const [row] = JSON.parse(together.out) as CheckRow[];
  assert.deepEqual({ ...row, seconds: 0 }, { ...alone, seconds: 0 });
});

test("--list names the scenarios and explores nothing", async () => {
  const { status, out } = await hmm("check", "holes/parked", "--list");
  assert.equal(status, 0);
  assert.match(out, /holes\/parked\/before .*\(expects: lost-wakeup\)\n.*holes\/parked\/after/);
  const all = JSON.parse((await hmm("check", "--list", "--json")).out) as {
    readonly scenario: string;
  }[];
  assert.ok(all.length > 20);
  assert.equal(new Set(all.map(({ scenario }) => scenario)).size, all.length, "each name once");
});

test("--html writes a page", async () => {
  const path = join(folder, "report.html");
  const { status, out } = await hmm("check", "holes/parked", "--html", path);
  assert.equal(status, 0);
  assert.match(out, /report\.html` has the timelines/);
  assert.match(readFileSync(path, "utf8"), /<html/);
});

const broken = join(folder, "broken.mjs");
writeFileSync(broken, "export default 1;\n");
const thrower = join(folder, "thrower.mjs");
writeFileSync(thrower, "throw new Error('thrown while it is imported');\n");
const made = 'const s = { name: "s", setup: () => 0, tasks: { *a() {} } };';
const holed = join(folder, "holed.mjs");
writeFileSync(holed, `${made} export default [s, undefined];`);
const twice = join(folder, "twice.mjs");
writeFileSync(twice, `${made} export default [s, { ...s }];`);
const noCheckpoint = join(folder, "no-checkpoint.json");
writeFileSync(noCheckpoint, "{}");

const REFUSED: readonly (readonly [args: readonly string[], says: RegExp])[] = [
  [["check", "hloes"], /Unknown scenario 'hloes' \(did you mean holes/],
  [["check", "holes/zzzzzzzzzz"], /Unknown scenario .*did you mean holes\?/],
  [["check", "hole"], /Unknown scenario 'hole' \(did you mean holes/],
  [["check", "./nowhere.mjs"], /Cannot read '\.\/nowhere\.mjs': there is no such file/],
  [["check", broken], /it exports no scenario/],
  [["check", holed], /element 1 of its default export is no scenario/],
  [["check", twice], /two of its scenarios are called 's'; give each a name of its own/],
  [["check", thrower], /Cannot import .*thrown while it is imported/],
  [["check", "--engine", "magic"], /Cannot use 'magic' as --engine: must be optimal or source/],
  [
    ["check", "--engine", "optimal", "--preemptions", "2"],
    /only the engine bounded counts preemptions/,
  ],
  [["check", "--engine", "source", "--seed", "2"], /only random, pct, pos draw at random/],
  [["check", "--preemptions", "1", "--seed", "2"], /--seed with the engine bounded: only random/],
  [["check", "--html", "", "holes/aba"], /Cannot write '' for --html: it is no name; name a file/],
  [["check", "--preemptions", "-1"], /--preemptions: must be a whole number/],
  [["check", "--seconds", "0"], /--seconds: must be seconds, more than 0/],
  [["check", "--seconds", "soon"], /Cannot use 'soon' as --seconds/],
  [["check", "--jobs", "0"], /--jobs: must be a whole number from 1/],
  [["check", "--checkpoint", noCheckpoint], /it is no checkpoint of `hmm check`/],
  [["replay", "holes/parked/before"], /it must name a scenario and a schedule/],
  [["replay", "h1-a3"], /it must name a scenario and a schedule/],
  [["replay", "holes/parked/before@x"], /Cannot read the token "x": it must begin with h1-/],
  [["replay", "holes/parked/before@h1-a%"], /nothing known stands at character 5/],
  [["replay", "holes/parked/befor@h1-a"], /Unknown scenario .*did you mean holes\/parked\/before/],
  [
    ["replay", "holes/parked/before@h1-a500"],
    /is not possible.*`hmm check holes\/parked\/before` finds/,
  ],
];

test("misuse is refused with one line, and exit status 2", async () => {
  for (const [args, says] of REFUSED) {
    const { status, out, err } = await hmm(...args);
    const asked = args.join(" ");
    assert.deepEqual([status, out], [2, ""], asked);
    assert.match(err, says, asked);
    assert.match(err, /^hmm: [A-Z][^\n]*\n$/, asked);
  }
});

/** Starts the command, and interrupts it soon after `cue` was printed. */
async function interrupted(cue: string, ...args: string[]): Promise<Run> {
  const child = spawn(process.execPath, [main, ...args]);
  const text = { out: "", err: "" };
  child.stdout.on("data", (part: Buffer) => {
    const had = text.out.includes(cue);
    text.out += part.toString();
    if (!had && text.out.includes(cue)) setTimeout(() => child.kill("SIGINT"), 300);
  });
  child.stderr.on("data", (part: Buffer) => void (text.err += part.toString()));
  const status = await new Promise<number>(
    (resolve) => void child.once("close", (code) => resolve(code ?? -1)),
  );
  return { status, ...text };
}

test("Ctrl-C keeps what was reached, and the same command goes on", async () => {
  const file = join(folder, "checkpoint.json");
  const args = ["check", own, endless, "--jobs", "1", "--checkpoint", file];
  const { status, out, err } = await interrupted("#not-broken", ...args);
  assert.equal(status, 130, out + err);
  assert.match(
    err,
    /Stopped: 5 of 6 scenarios were explored; the same command with --checkpoint .* goes on/,
  );
  const kept = JSON.parse(readFileSync(file, "utf8")) as { readonly underWay: object };
  assert.deepEqual(Object.keys(kept.underWay), [endless]);
  const other = await hmm("check", own, "--checkpoint", file);
  assert.equal(other.status, 2);
  assert.match(other.err, /it is of a check with other scenarios or options/);
  assert.ok(existsSync(file));
});

test("an exploration that was stopped and goes on says what one that was not stopped says", async () => {
  const { choice, ...job } = {
    address: { module: pathToFileURL(own).href, own: "surprising", name: "surprising" },
    choice: { engine: "naive" },
    minimised: "all",
    shown: "surprises",
  } as const;
  const hearing = { onProgress: () => {}, isCancelled: () => false };
  const whole = await doJob({ ...job, choice, resumeFrom: undefined }, hearing);
  let asked = 0;
  const stopped = await doJob(
    { ...job, choice, resumeFrom: undefined },
    { ...hearing, isCancelled: () => ++asked > 3 },
  );
  assert.ok(stopped.kind === "stopped" && stopped.checkpoint !== undefined);
  const checkpoint = parseCheckpoint(JSON.stringify(stopped.checkpoint));
  const resumed = await doJob({ ...job, choice, resumeFrom: checkpoint }, hearing);
  assert.ok(whole.kind === "judged" && resumed.kind === "judged");
  assert.deepEqual({ ...resumed.judged.row, seconds: 0 }, { ...whole.judged.row, seconds: 0 });
  assert.ok(whole.judged.row.executions > 3);
});

test("a checkpoint file goes when all is done", async () => {
  const whole = await rowsOf("holes/parked/after");
  const file = join(folder, "finished.json");
  const kept = await rowsOf("holes/parked/after", "--checkpoint", file);
  assert.equal(kept.rows[0]?.classes, whole.rows[0]?.classes);
  assert.ok(!existsSync(file), "there is nothing left to go on with");
});

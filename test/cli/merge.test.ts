/**
 * Parts of a run, made with `--shard`: disjoint, together everything; and `hmm merge`, which adds
 * them up to what the whole would have said.
 */

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

import type { CheckPart } from "../../command/src/check/check-part.ts";
import type { CheckRow } from "../../command/src/check/check-row.ts";
import { fuzz } from "../../command/src/fuzz/fuzz-command.ts";
import { capturedTerminal } from "./captured-terminal.ts";
import { hmm } from "./run-hmm.ts";

const folder = mkdtempSync(join(tmpdir(), "hmm-merge-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const own = fileURLToPath(new URL("./own-scenarios.js", import.meta.url));
const hasty = new URL("./hasty-operations.js", import.meta.url).href;

function keep(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

let files = 0;

/** The files of all parts of `hmm check ARGS`. */
async function checkParts(of: number, ...args: string[]): Promise<string[]> {
  const paths = [];
  for (let part = 1; part <= of; part++) {
    const { out, err } = await hmm(
      "check",
      ...args,
      "--jobs",
      "1",
      "--shard",
      `${part}/${of}`,
      "--json",
    );
    assert.equal(err, "");
    paths.push(keep(`check-${files++}.json`, out));
  }
  return paths;
}

/** Times differ. */
function withoutTimes(json: string): unknown {
  return (JSON.parse(json) as CheckRow[]).map((row) => ({ ...row, seconds: 0 }));
}

test("the parts of a check have each scenario once, and merged they are the whole", async () => {
  const args = ["coverage/sync/rwsem", "holes/parked", "holes/aba"];
  const whole = await hmm("check", ...args, "--jobs", "1", "--json");
  for (const of of [1, 3, 9]) {
    const paths = await checkParts(of, ...args);
    const merged = await hmm("merge", ...paths.toReversed(), "--json");
    assert.deepEqual([merged.status, merged.err], [0, ""]);
    assert.deepEqual(withoutTimes(merged.out), withoutTimes(whole.out), `of ${of}`);
  }
  const table = await hmm("merge", ...(await checkParts(2, ...args)));
  assert.match(table.out, /^scenario .*\ncoverage\/sync\/rwsem .*; no surprise\n$/s);
  assert.equal(table.out.split("\n").length, (JSON.parse(whole.out) as unknown[]).length + 4);
});

test("a surprise in one part is a surprise of the whole, told with what replays it", async () => {
  const paths = await checkParts(2, own);
  const merged = await hmm("merge", ...paths);
  assert.equal(merged.status, 1);
  assert.match(merged.out, /\n {2}hmm replay \S+#surprising@h1-/);
  assert.match(merged.out, /\d surprises?\n$/);
});

test("what are not all parts of one run, each once and to its end, are refused", async () => {
  const [first = "", second = ""] = await checkParts(2, "holes/parked");
  const [alone = ""] = await checkParts(1, "holes/aba");
  const [stranger = ""] = await checkParts(2, "holes/aba");
  const part = JSON.parse(readFileSync(second, "utf8")) as CheckPart;
  const short = keep("short.json", JSON.stringify({ ...part, rows: [] }));
  const array = keep("array.json", (await hmm("check", "holes/aba", "--jobs", "1", "--json")).out);
  const refused: readonly (readonly [paths: readonly string[], says: RegExp])[] = [
    [[first], /of 2 parts there is no 2/],
    [[first, first], /is part 1 of 2, too/],
    [[first, alone], /runs with other arguments or options/],
    [[second, stranger], /runs with other arguments or options/],
    [[first, short], /1 of 2 scenarios are in no part/],
    [[array], /it is no part of a run/],
    [[keep("bad.json", "{")], /it is no part of a run/],
    [[join(folder, "none.json")], /there is no such file/],
  ];
  for (const [paths, says] of refused) {
    const { status, out, err } = await hmm("merge", ...paths);
    assert.deepEqual([status, out], [2, ""], String(says));
    assert.match(err, says);
  }
  for (const shard of ["0/2", "3/2", "1", "1/0", "a/b", "1/2/3"]) {
    const { status, err } = await hmm("check", "holes/parked", "--shard", shard);
    assert.equal(status, 2, shard);
    assert.match(err, /as --shard: must be a part and how many there are, such as 3\/8/);
  }
});

interface FuzzSaid {
  readonly seconds: number;
  readonly findings: readonly object[];
}

async function fuzzJson(
  jobs: number,
  shard?: { readonly part: number; readonly of: number },
): Promise<string> {
  const terminal = capturedTerminal();
  const flags = {
    seed: 30,
    programs: 20,
    jobs,
    output: folder,
    json: true as const,
    ...(shard && { shard }),
  };
  await fuzz(flags, hasty, { terminal, exitStatus: 0 });
  return terminal.text.out;
}

/** Times differ. */
function fuzzSaid(json: string): FuzzSaid {
  return { ...(JSON.parse(json) as FuzzSaid), seconds: 0 };
}

test("so many programs of a seed are the same search on any number of threads, and in parts", async () => {
  const whole = fuzzSaid(await fuzzJson(2));
  assert.ok(whole.findings.length > 0, "a device that does not ask must be found out");
  const paths = [];
  for (const part of [1, 2])
    paths.push(keep(`fuzz-${part}.json`, await fuzzJson(1, { part, of: 2 })));
  const merged = await hmm("merge", ...paths, "--json");
  assert.deepEqual([merged.status, merged.err], [1, ""]);
  assert.deepEqual(fuzzSaid(merged.out), whole);
  const told = await hmm("merge", ...paths);
  assert.match(told.out, /^assertion: The device .*hmm replay .* findings? \(seed 30\)\n$/s);
  const [first = ""] = paths;
  const [check = ""] = await checkParts(2, "holes/parked");
  assert.match((await hmm("merge", first, check)).err, /runs with other arguments or options/);
});

test("options of hmm fuzz that contradict each other are refused", async () => {
  const refused: readonly (readonly [args: string, says: RegExp])[] = [
    ["--programs 5 --seconds 5", /Cannot use --programs with --seconds/],
    ["--programs 5 --state x.json", /Cannot use --programs with --state/],
    ["--shard 1/2", /Cannot use --shard without --programs and --seed/],
    ["--shard 1/2 --programs 5", /Cannot use --shard without --programs and --seed/],
  ];
  for (const [args, says] of refused) {
    const { status, err } = await hmm("fuzz", ...args.split(" "));
    assert.equal(status, 2, args);
    assert.match(err, says);
  }
});

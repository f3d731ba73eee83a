/**
 * `hmm fuzz`: a mistake in an operation is found and made small, the shipped code is not accused,
 * and a run goes on.
 */

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { explore } from "../../src/checker/explore.ts";
import { RandomNumbers } from "../../src/checker/engines/random-numbers.ts";
import type { coverageOf } from "../../command/src/fuzz/fuzz-part.ts";
import { fuzz } from "../../command/src/fuzz/fuzz-command.ts";
import { FuzzSearch } from "../../command/src/fuzz/fuzz-search.ts";
import type { ProgramOutcome } from "../../command/src/fuzz/fuzz-search.ts";
import type { OperationTable } from "../../command/src/fuzz/fuzz-stage.ts";
import { RunFunctions, addFunctions, pairsIn } from "../../command/src/fuzz/fuzz-coverage.ts";
import { STEPS_MAX } from "../../command/src/fuzz/fuzz-stage.ts";
import type { Finding } from "../../src/checker/findings/finding.ts";
import type { FuzzCall, FuzzProgram } from "../../command/src/fuzz/fuzz-program.ts";
import { CALLS, readFuzzFile } from "../../command/src/fuzz/fuzz-program.ts";
import { natureOf } from "../../command/src/fuzz/nature.ts";
import { operations } from "../../command/src/fuzz/operations.ts";
import {
  changedProgram,
  programOf,
  randomProgram,
} from "../../command/src/fuzz/program-grammar.ts";
import { programScenario } from "../../command/src/fuzz/program-scenario.ts";
import { scenarioFileText } from "../../command/src/fuzz/scenario-file.ts";
import { shrinkProgram } from "../../command/src/fuzz/shrink-program.ts";
import { runProgram } from "../../command/src/program.ts";
import { claim } from "../../src/mm/source/source-table.ts";
import { mmget } from "../../src/mm/lifetime/mm.ts";
import { operations as hastyDevice } from "./hasty-operations.ts";
import { capturedTerminal } from "./captured-terminal.ts";

const folder = mkdtempSync(join(tmpdir(), "hmm-fuzz-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** A fork that forgets a user of the parent. */
const leakyFork: OperationTable = {
  ...operations,
  fork: {
    ...operations.fork,
    *perform(stage, mm, placed) {
      yield* mmget(mm);
      return yield* operations.fork.perform(stage, mm, placed);
    },
  },
};

/** A program that shows what the table breaks, among calls that have nothing to do with it. */
function findingIn(
  table: OperationTable,
  tasks: FuzzProgram["tasks"],
): { readonly program: FuzzProgram; readonly finding: Finding } {
  const program = { tasks };
  const [finding] = explore(programScenario(program, "fuzz", table), {
    engine: "bounded",
    preemptions: 1,
    stopAtFinding: true,
    checkDeterminism: false,
  }).findings;
  assert.ok(finding !== undefined, "nothing found");
  return { program, finding };
}

const besideServe: FuzzProgram["tasks"] = {
  a: [{ op: "cold" }, { op: "munmap", pages: 1 }],
  b: [{ op: "serve", pages: 1 }, { op: "use" }],
  c: [{ op: "touch", page: 2 }],
};

/** The first program with a finding whose message matches. */
function searchUntilFound(table: OperationTable, seed: number, message = /./): ProgramOutcome {
  const search = new FuzzSearch({ seed, table });
  for (let number = 0; number < 2000; number++) {
    const outcome = search.tryProgram(number);
    if (outcome.finding !== undefined && message.test(outcome.finding.message)) return outcome;
  }
  return assert.fail(`seed ${seed}: nothing found in 2,000 programs`);
}

test("a device that programs without asking is found, and the program made small", () => {
  const { program, finding } = findingIn(hastyDevice, besideServe);
  const small = shrinkProgram(program, finding, hastyDevice);
  assert.match(small.finding.message, /The device (reaches frame|may write)/);
  const calls = Object.values(small.program.tasks).flat();
  assert.equal(Object.keys(small.program.tasks).length, 2);
  assert.equal(calls.length, 2, JSON.stringify(small.program));
  assert.ok(calls.some(({ op }) => op === "serve"));
  assert.ok(small.finding.preemptions <= 2);
  // The same program is sound with the shipped device: it is the mistake that was found.
  assert.deepEqual(
    explore(programScenario(small.program), { engine: "bounded", preemptions: 2 }).findings,
    [],
  );
});

test("a user of an address space that is never given back is found by the accounting", () => {
  const { program, finding } = findingIn(leakyFork, {
    a: [{ op: "touch" }, { op: "fork" }],
    b: [{ op: "dontneed" }],
  });
  const small = shrinkProgram(program, finding, leakyFork);
  assert.match(small.finding.message, /accounting does not balance/);
  assert.deepEqual(small.program, { tasks: { a: [{ op: "fork" }] } });
});

test("a claim of a source that is never given back is found by the accounting", () => {
  const table: OperationTable = {
    ...operations,
    msync: {
      ...operations.msync,
      *perform(stage, mm, placed) {
        yield* claim(stage.harness.machine, stage.cache);
        return yield* operations.msync.perform(stage, mm, placed);
      },
    },
  };
  const { program, finding } = findingIn(table, {
    a: [{ op: "touch" }, { op: "msync" }],
    b: [{ op: "dontneed" }],
  });
  const small = shrinkProgram(program, finding, table);
  const calls = Object.values(small.program.tasks).flat();
  assert.deepEqual(
    calls.map(({ op }) => op),
    ["msync"],
    JSON.stringify(small.program),
  );
});

/** Each beside each other's stores, sections, sizes and splits. */
const programsOfNewCalls: readonly (readonly (readonly FuzzCall[])[])[] = [
  [
    [{ op: "map-source", pages: 3, write: true, shared: true, place: "fixed" }, { op: "store" }],
    [
      { op: "resize-source", pages: 1 },
      { op: "load", page: 2 },
      { op: "msync", pages: 3 },
    ],
  ],
  [
    [
      { op: "map-source", pages: 2, write: true, place: "fixed" },
      { op: "section", pages: 2 },
    ],
    [{ op: "willneed", pages: 3 }, { op: "pageout", pages: 3 }, { op: "fork" }, { op: "store" }],
  ],
  [
    [
      { op: "store", huge: true },
      { op: "munmap", huge: true, page: 3 },
      { op: "exclusive", huge: true },
    ],
    [
      { op: "section", huge: true, page: 2, pages: 2 },
      { op: "collapse", huge: true, whole: true },
    ],
  ],
  [
    [
      { op: "touch", huge: true },
      { op: "mprotect", huge: true, page: 1 },
      { op: "load", huge: true },
    ],
    [
      { op: "fork" },
      { op: "nohugepage", huge: true, whole: true },
      { op: "store", huge: true, child: true },
    ],
  ],
];

test("sources, sections and huge pages are in programs, and not accused", () => {
  const functions = new RunFunctions();
  for (const lists of programsOfNewCalls) {
    const options = { engine: "random", executions: 6, checkDeterminism: false } as const;
    const scenario = programScenario(programOf(lists));
    const { findings } = explore(scenario, { ...options, maxSteps: STEPS_MAX });
    assert.deepEqual(findings, [], JSON.stringify(lists));
  }
  const { ran } = functions.take();
  for (const name of [
    "mm/source/transfer.readPages",
    "mm/source/size.refreshSize",
    "mm/calls/msync.doMsync",
    "mm/huge.splitHuge",
    "mmu/store-mark.openSection",
  ])
    assert.ok(ran.includes(name), `${name} did not run`);
});

test("an answer that the documentation does not allow is found", () => {
  const table: OperationTable = { ...operations, touch: { ...operations.touch, answers: [] } };
  const { program, finding } = searchUntilFound(table, 1);
  assert.ok(finding !== undefined);
  const small = shrinkProgram(program, finding, table);
  assert.match(
    small.finding.message,
    /touch answers E(FAULT|NOMEM), which its documentation does not allow/,
  );
  assert.ok(Object.values(small.program.tasks).flat().length <= 2, JSON.stringify(small.program));
});

test("the shipped code is not accused, and programs show ever more", () => {
  const search = new FuzzSearch({ seed: 11 });
  let signals = 0;
  for (let number = 0; number < 40; number++) {
    const outcome = search.tryProgram(number);
    assert.equal(outcome.finding, undefined, JSON.stringify(outcome));
    signals += outcome.signals.length;
  }
  assert.ok(signals > 200, `${signals} signals`);
});

test("a search does not depend on the searches before it in its thread", () => {
  const tryAll = (): ProgramOutcome[] => {
    const search = new FuzzSearch({ seed: 21 });
    return Array.from({ length: 6 }, (_, number) => search.tryProgram(number));
  };
  assert.deepEqual(tryAll(), tryAll());
});

test("a search goes on after a finding, and tells each nature once", () => {
  const table: OperationTable = { ...leakyFork, touch: { ...operations.touch, answers: [] } };
  const search = new FuzzSearch({ seed: 10, table });
  const told: string[] = [];
  for (let number = 0; number < 4; number++) {
    const { finding } = search.tryProgram(number);
    if (finding !== undefined) told.push(natureOf(finding));
  }
  assert.ok(told.length > 1, told.join());
  assert.equal(new Set(told).size, told.length);
  assert.ok(told.some((nature) => nature.includes("accounting")));
  assert.ok(told.some((nature) => nature.includes("touch answers")));
});

test("a finding that only the sampler sees is not told", () => {
  // The replay has no such fault: what the sampler saw was none.
  let performed = 0;
  const table: OperationTable = {
    ...operations,
    use: {
      ...operations.use,
      *perform(stage, mm, placed) {
        if (performed++ === 0) throw new Error("seen once");
        return yield* operations.use.perform(stage, mm, placed);
      },
    },
  };
  const search = new FuzzSearch({ seed: 5, table });
  for (let number = 0; number < 12; number++) {
    assert.equal(search.tryProgram(number).finding, undefined);
  }
  assert.ok(performed > 1);
});

test("the functions that ran, and the pairs of calls that met, are told", () => {
  const functions = new RunFunctions();
  const search = new FuzzSearch({ seed: 12 });
  const signals: string[] = [];
  for (let number = 0; number < 10; number++) signals.push(...search.tryProgram(number).signals);
  const { ran, missed } = functions.take();
  assert.ok(ran.length > 0);
  assert.deepEqual(
    ran.filter((name) => missed.includes(name)),
    [],
  );
  const pairs = pairsIn(signals);
  assert.ok(pairs.met.length > 20, pairs.met.join());
  assert.equal(pairs.met.length + pairs.missed.length, (CALLS.length * (CALLS.length + 1)) / 2);
  assert.deepEqual(pairsIn(["touch>munmap@read pte", "use=0|touch"]).met, ["munmap+touch"]);
  const both = addFunctions([
    { ran: ["a"], missed: ["b"] },
    { ran: ["b"], missed: ["c"] },
  ]);
  assert.deepEqual(both, { ran: ["a", "b"], missed: ["c"] });
});

test("programs are repeatable, and changes of them well-formed", () => {
  const random = new RandomNumbers(1);
  assert.deepEqual(randomProgram(new RandomNumbers(9)), randomProgram(new RandomNumbers(9)));
  let program = randomProgram(random);
  for (let i = 0; i < 500; i++) {
    program = changedProgram(program, randomProgram(random), random);
    readFuzzFile({ fuzz: 1, name: "x", preemptions: 0, ...program });
  }
});

async function hmm(
  ...args: string[]
): Promise<{ readonly status: number; readonly out: string; readonly err: string }> {
  const terminal = capturedTerminal();
  const status = await runProgram(args, terminal);
  return { status, ...terminal.text };
}

test("a scenario file is checked and replayed by its path", async () => {
  const { program, finding } = findingIn(hastyDevice, besideServe);
  const small = shrinkProgram(program, finding, hastyDevice);
  const path = join(folder, "found.mjs");
  writeFileSync(path, scenarioFileText("found.mjs", small, 9));
  // With the shipped device it is sound.
  const checked = await hmm("check", path);
  assert.deepEqual([checked.status, checked.err], [0, ""]);
  assert.match(checked.out, /found\.mjs +✓ ok .*complete to [12] preemption/);
  const replayed = await hmm("replay", `${path}@${small.finding.token.slice(0, 6)}`);
  assert.equal(replayed.status, 0, replayed.err);
});

test("hmm fuzz finds the mistake, goes on, writes the file, shows the timeline, and ends with 1", async () => {
  const terminal = capturedTerminal();
  const context = { terminal, exitStatus: 0 };
  const flags = { seed: 30, programs: 20, jobs: 2, output: folder };
  await fuzz(flags, new URL("./hasty-operations.js", import.meta.url).href, context);
  const { out } = terminal.text;
  assert.equal(context.exitStatus, 1);
  assert.match(out, /^assertion: The device/);
  const [, name = ""] = /hmm replay \S*(fuzz-assertion-30-\d+\.mjs)@h1-/.exec(out) ?? [];
  assert.match(out, /explores it\.\n.* functions ran, .* pairs of calls met\n/s);
  assert.match(out, /\n20 programs, .* findings? \(seed 30\)\n$/s);
  const text = readFileSync(join(folder, name), "utf8");
  assert.match(text, /^\/\/ Found by `hmm fuzz --seed 30`/);
  assert.match(text, /"op":"serve"/);
});

test("a program file that is no program is refused", async () => {
  const path = join(folder, "bad.mjs");
  const refused: readonly (readonly [file: object, says: RegExp])[] = [
    [{ fuzz: 2 }, /of another version/],
    [{ fuzz: 1, name: "x", tasks: {} }, /must have 1 to 4 tasks/],
    [{ fuzz: 1, name: "x", tasks: { a: [{ op: "reboot" }] } }, /there is no call "reboot"/],
    [{ fuzz: 1, name: "x", tasks: { a: [{ op: "touch", from: 0 }] } }, /index of an earlier call/],
    [{ fuzz: 1, name: "x", tasks: { a: [{ op: "munmap", pages: 1e9 }] } }, /whole numbers below/],
  ];
  for (const [file, says] of refused) assert.throws(() => readFuzzFile(file), says);
  writeFileSync(
    path,
    `export default ${JSON.stringify({ fuzz: 1, name: "x", tasks: { a: [{ op: "reboot" }] } })};\n`,
  );
  const { status, err } = await hmm("check", path);
  assert.equal(status, 2);
  assert.match(err, /there is no call "reboot"/);
});

test("hmm fuzz searches for a while, keeps what it learned, and goes on", async () => {
  const state = join(folder, "state.json");
  const first = await hmm(
    "fuzz",
    "--seed",
    "4",
    "--seconds",
    "2",
    "--jobs",
    "1",
    "--state",
    state,
    "--output",
    folder,
  );
  assert.deepEqual([first.status, first.err], [0, ""], first.out);
  assert.match(
    first.out,
    /programs?, .* executions in .*: .* signals, nothing found \(seed 4; the same command goes on/,
  );
  assert.ok(existsSync(state));
  const next = (): number =>
    (JSON.parse(readFileSync(state, "utf8")) as { readonly next: number }).next;
  const before = next();
  const second = await hmm(
    "fuzz",
    "--seconds",
    "2",
    "--jobs",
    "2",
    "--state",
    state,
    "--json",
    "--output",
    folder,
  );
  const said = JSON.parse(second.out) as {
    readonly seed: number;
    readonly findings: readonly unknown[];
    readonly coverage: ReturnType<typeof coverageOf>;
  };
  const { functions, pairs } = said.coverage;
  assert.ok(functions.missed.includes("memory/layout/struct.describeStructs"));
  assert.ok(functions.ran.includes("memory/device-memory.makeDeviceMemory"));
  assert.ok(functions.ran.length > 0 && pairs.met.length > 0);
  assert.deepEqual([second.status, said.seed, said.findings], [0, 4, []]);
  assert.ok(next() > before);
  const refused = await hmm("fuzz", "--seed", "5", "--state", state);
  assert.equal(refused.status, 2);
  assert.match(refused.err, /it is of seed 4/);
});

/**
 * `npm run mutants`: what becomes of the results. They are kept as lines and read back, it is told
 * which of them hold, and a survey that is older than the code still says who reaches what.
 */

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";

interface Opinion {
  readonly answer: string;
  readonly by: string;
  readonly why: string;
  readonly tried: number;
  readonly of: number;
  readonly seconds: number;
}

interface Judgement {
  readonly check: Opinion;
  readonly tests: Opinion;
}

interface Known {
  readonly digest: string;
  readonly date: string;
  readonly beside: string;
  readonly judgement: Judgement;
}

interface Mutant {
  readonly key: string;
  readonly path: string;
  readonly module: string;
  readonly digest: string;
}

interface Named {
  readonly name: string;
  readonly digest: string;
  readonly expects: string | undefined;
}

interface Sayings {
  digestFor(module: string): string;
}

interface Results {
  standing(mutant: Mutant): string;
  of(mutant: Mutant): Judgement | undefined;
  noticer(mutant: Mutant): string;
  keep(mutant: Mutant, judgement: Judgement): void;
  save(): void;
}

interface Tool {
  readonly NOT_RUN: Opinion;
  readonly lineOf: (known: Known) => string;
  readonly knownOf: (line: string) => Known | undefined;
  readonly findMutants: (build: string, wanted: (module: string) => boolean) => Mutant[];
  readonly buildPath: string;
  readonly Results: new (all: readonly Mutant[], sayings: Sayings, folder: string) => Results;
  readonly standingsOf: (mutants: readonly Mutant[], results: Results) => Record<string, number>;
  readonly Sayings: new (covered: readonly object[], scenarios: readonly Named[]) => Sayings;
  readonly readSayings: () => Promise<{ readonly digests: ReadonlyMap<string, string> }>;
  readonly ReachedBy: new (survey: object) => {
    scenariosOf(mutant: { key: string; module: string }): { name: string; isPrepared: boolean }[];
    testsOf(mutant: { key: string }): { name: string }[];
  };
}

async function load(): Promise<Tool> {
  const root = new URL("../../../scripts/mutants/", import.meta.url);
  const names = "find judge lane reached-by record-line results sayings".split(" ");
  const modules = await Promise.all(
    names.map(async (name) => (await import(new URL(`${name}.mjs`, root).href)) as object),
  );
  return Object.assign({}, ...modules) as Tool;
}

const tool = await load();
const { NOT_RUN } = tool;
const unreached = { ...NOT_RUN, answer: "unreached" };
const silent = { ...NOT_RUN, answer: "silent", tried: 3, of: 40, seconds: 30 };
const noticed = { ...NOT_RUN, answer: "noticed", by: "coverage/mm/a", why: "race" };

describe("a result as a line", () => {
  const opinions: readonly Opinion[] = [
    noticed,
    { ...noticed, why: "cannot be explored: a b" },
    { ...NOT_RUN, answer: "time-out", by: "coverage/mm/b", why: "stands still" },
    silent,
    unreached,
  ];
  for (const check of opinions) {
    for (const tests of [NOT_RUN, ...opinions]) {
      test(`${check.answer} (${check.why}), tests ${tests.answer} (${tests.why}): there and back`, () => {
        const beside = check.by === "" ? "0123abcd" : "";
        const known = { digest: "ff00", date: "2026-11-27", beside, judgement: { check, tests } };
        assert.deepEqual(tool.knownOf(tool.lineOf(known)), known);
      });
    }
  }

  test("what a message says cannot break the line", () => {
    const odd = { ...noticed, why: "cannot be explored: a | b\nc" };
    const known = {
      digest: "f",
      date: "2026-11-27",
      beside: "",
      judgement: { check: odd, tests: silent },
    };
    const back = tool.knownOf(tool.lineOf(known));
    assert.equal(back?.judgement.check.why, "cannot be explored: a b c");
    assert.deepEqual(back?.judgement.tests, silent);
  });

  for (const line of [
    "",
    "ff00",
    "ff00 2026-11-27",
    "ff00 2026-11-27 perhaps",
    "ff00 27.11.26 unreached",
  ]) {
    test(`no result: ${JSON.stringify(line)}`, () => {
      assert.equal(tool.knownOf(line), undefined);
    });
  }
});

describe("which results hold", () => {
  const folder = `${mkdtempSync(join(tmpdir(), "hmm-mutants-record-"))}/`;
  after(() => rmSync(folder, { recursive: true }));
  const all = tool.findMutants(tool.buildPath, (module) => module === "mm/entries/zap");
  const [first, second, third] = all;
  assert.ok(first !== undefined && second !== undefined && third !== undefined);

  const covered = [
    { scenario: { name: "coverage/mm/a" }, twins: [], runs: { t: ["mm/entries/zap.f"] } },
  ];
  const sayings = (digest: string, name = "coverage/mm/a"): Sayings =>
    new tool.Sayings(covered, [{ name, digest, expects: undefined }]);
  const read = (said = sayings("d"), mutants: readonly Mutant[] = all): Results =>
    new tool.Results(mutants, said, folder);

  test("what was kept is read again, sorted, one line a mutant", () => {
    const results = read();
    results.keep(second, { check: silent, tests: NOT_RUN });
    results.keep(first, { check: noticed, tests: NOT_RUN });
    results.save();
    const lines = readFileSync(`${folder}mm.json`, "utf8").trim().split("\n");
    assert.equal(lines.length, 4);
    assert.deepEqual(lines, [lines[0], ...lines.slice(1, 3).toSorted(), lines[3]]);
    assert.deepEqual(read().of(first)?.check.by, "coverage/mm/a");
    assert.deepEqual(read().of(second)?.check, silent);
    assert.deepEqual(tool.standingsOf(all, read()), {
      holds: 2,
      new: all.length - 2,
      changed: 0,
      doubtful: 0,
    });
  });

  test("not those of a function that has changed; who noticed is asked first", () => {
    const changed = { ...first, digest: "other" };
    assert.equal(read().standing(changed), "changed");
    assert.equal(read().of(changed), undefined);
    assert.equal(read().noticer(changed), "coverage/mm/a");
  });

  test("not what a scenario noticed that is gone", () => {
    assert.equal(read(sayings("d", "coverage/mm/b")).standing(first), "changed");
  });

  test("what a scenario noticed, whatever becomes of its text; silence is doubted", () => {
    assert.equal(read(sayings("e")).standing(first), "holds");
    assert.equal(read(sayings("e")).standing(second), "doubtful");
    assert.deepEqual(read(sayings("e")).of(second)?.check, silent);
  });

  test("what is recorded of a mutant that is gone is forgotten", () => {
    const results = read(sayings("d"), [second]);
    results.save();
    assert.equal(read().standing(first), "new");
    assert.equal(read().standing(second), "holds");
  });

  test("a line that is none is told", () => {
    writeFileSync(`${folder}mm.json`, JSON.stringify({ [third.key]: "perhaps" }));
    assert.throws(() => read(), /no result is perhaps/);
  });
});

test("every scenario that ships is found, with a digest of its code", async () => {
  const { digests } = await tool.readSayings();
  assert.ok(digests.size > 1000);
  assert.ok(new Set(digests.values()).size > 50);
});

describe("who reaches a mutant", () => {
  const key = "mm/entries/zap.clearLeaf flush: a";
  const other = "mm/entries/zap.zapRange flush: b";
  const reachedBy = new tool.ReachedBy({
    keys: [key, other],
    scenarios: [
      { name: "s", digest: "", seconds: 1, reached: [key], prepared: [] },
      { name: "t", digest: "", seconds: 1, reached: [], prepared: [key] },
      { name: "u", digest: "", seconds: 1, reached: ["mm/entries/zap.x flush: c"], prepared: [] },
    ],
    tests: [
      { name: "a", digest: "", seconds: 1, functions: ["mm/entries/zap.clearLeaf"], passes: true },
      { name: "b", digest: "", seconds: 1, functions: ["mm/entries/zap.clearLeaf"], passes: false },
    ],
  });
  const namesOf = (asked: string): string[] =>
    reachedBy.scenariosOf({ key: asked, module: "mm/entries/zap" }).map(({ name }) => name);

  test("one that is known: those that reach it", () => {
    assert.deepEqual(namesOf(key), ["s", "t"]);
    const [byTask, bySetUp] = reachedBy.scenariosOf({ key, module: "mm/entries/zap" });
    assert.deepEqual([byTask?.isPrepared, bySetUp?.isPrepared], [false, true]);
  });

  test("one that is known, and that nothing reaches: nobody", () => {
    assert.deepEqual(namesOf(other), []);
  });

  test("one that the survey does not know: those of its function, else of its module", () => {
    assert.deepEqual(namesOf("mm/entries/zap.clearLeaf mark: new"), ["s", "t"]);
    assert.deepEqual(namesOf("mm/entries/zap.another mark: new"), ["s", "t", "u"]);
  });

  test("tests that pass", () => {
    assert.deepEqual(
      reachedBy.testsOf({ key }).map(({ name }) => name),
      ["a"],
    );
  });
});

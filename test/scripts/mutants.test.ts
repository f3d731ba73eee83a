/**
 * `npm run mutants`: what each kind finds, what a mutant does to a file, that who notices is told,
 * that nobody is told where nothing changes, and a sample of all mutants. mutants-record.test.ts
 * has what becomes of the results.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, describe, test } from "node:test";

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

interface Mutant {
  readonly key: string;
  readonly path: string;
  readonly module: string;
  readonly kind: string;
  readonly what: string;
  readonly edits: readonly Edit[];
  readonly at: object;
  readonly digest: string;
}

interface Opinion {
  readonly answer: string;
  readonly by: string;
  readonly why: string;
}

interface Lane {
  readonly build: string;
  restore(path: string): void;
  remove(): void;
}

interface Witness {
  readonly name: string;
  readonly seconds: number;
  readonly isPrepared: boolean;
}

interface Examiner {
  end(): void;
}

interface Sayings {
  readonly covered: readonly { readonly runs: Readonly<Record<string, readonly string[]>> }[];
  readonly digests: ReadonlyMap<string, string>;
}

interface HandMade {
  readonly name: string;
  readonly mutant: Mutant;
  readonly scenario: string;
}

interface Tool {
  readonly handMadeOf: (mutants: readonly Mutant[]) => HandMade[];
  readonly staleReviews: (mutants: readonly { readonly key: string }[]) => string[];
  readonly findMutants: (build: string) => Mutant[];
  readonly mutantsOfText: (module: string, text: string) => Mutant[];
  readonly applyEdits: (text: string, edits: readonly Edit[]) => string;
  readonly digestOf: (text: string) => string;
  readonly buildPath: string;
  readonly Lane: new () => Lane;
  readonly readSayings: () => Promise<Sayings>;
  readonly Likely: new (sayings: Sayings) => {
    inOrder(mutant: Mutant, witnesses: readonly Witness[]): string[];
  };
  readonly Examiner: new (
    lane: Lane,
    path: string,
    mutants: readonly Mutant[],
    standstillSeconds?: number,
  ) => Examiner;
  readonly askCheck: (
    examiner: Examiner,
    mutant: Mutant | undefined,
    names: readonly string[],
    budget: { readonly seconds: number; readonly scenarioSeconds: number },
  ) => Promise<Opinion>;
  readonly askTests: (
    lane: Lane,
    mutant: Mutant,
    tests: readonly { readonly name: string; readonly seconds: number }[],
    seconds: number,
  ) => Promise<Opinion>;
  readonly switched: (
    module: string,
    text: string,
    mutants: readonly Mutant[],
  ) => { readonly text: string; readonly keys: readonly string[] };
  readonly kinds: readonly { readonly name: string }[];
  readonly shardOf: <T>(
    list: readonly T[],
    shard: { readonly part: number; readonly of: number },
  ) => T[];
  readonly addParts: (parts: readonly object[], build: string) => Map<string, unknown>;
  readonly withCalls: (
    text: string,
    places: readonly { readonly number: number; readonly at: object }[],
  ) => string;
}

async function load(): Promise<Tool> {
  const root = new URL("../../../scripts/mutants/", import.meta.url);
  const names =
    "examiner find hand-made judge kinds lane likely parts reach reviewed sayings switched".split(
      " ",
    );
  const modules = await Promise.all(
    names.map(async (name) => (await import(new URL(`${name}.mjs`, root).href)) as object),
  );
  return Object.assign({}, ...modules) as Tool;
}

const tool = await load();
const all = tool.findMutants(tool.buildPath);

/** What each kind makes of a function's body, which is built JavaScript. */
const FINDS: readonly (readonly [kind: string, body: string, becomes: string])[] = [
  ["lock", "yield* a.lock(); f(); yield* a.unlock();", "; f(); ;"],
  [
    "lock",
    "yield* a.downRead(); if (b) yield* a.upRead(); yield* c.upRead();",
    "; if (b) ; yield* c.upRead();",
  ],
  [
    "lock",
    "if (b) yield* a.lock(); else if (!(yield* a.tryLock())) return; yield* a.unlock();",
    "if (b) ; else if (!(true)) return; ;",
  ],
  ["unlock", "yield* a.lock(); f(); yield* a.unlock();", "yield* a.lock(); f(); ;"],
  [
    "weaker",
    "yield* a.downWrite(); f(); yield* a.upWrite();",
    "yield* a.downRead(); f(); yield* a.upRead();",
  ],
  ["flush", "yield* mm.shootdown.flush(a, b);", ";"],
  ["wake", "yield* this.wq.wakeAll();", ";"],
  ["fewer", "yield* this.wq.wakeAll();", "yield* this.wq.wakeOne();"],
  ["reference", "yield* mmput(machine, mm);", ";"],
  ["reference", "if (!(yield* a.refs.getNotZero())) return 0;", "if (!(true)) return 0;"],
  ["reference", "if (yield* a.refs.put()) g();", "if (false) g();"],
  ["notice", "const answer = yield* mmuNotifierInvalidateRangeStart(m, r);", "const answer = 0;"],
  [
    "compare",
    "return atomicCompareExchange(w, i, a, b) === a;",
    "return (atomicCompareExchange(w, i, atomicCompareExchange(w, i, 0, 0), b), a) === a;",
  ],
  ["mark", "atomicStore(w, i, 0);", ";"],
  ["mark", "const old = atomicExchange(w, i, 0);", "const old = Atomics.load(w, i);"],
  ["mark", "record.owns = OWNS_NOTHING;", ";"],
  [
    "look",
    "yield* a.lock(); if (b.isGone) return 1; yield* a.unlock();",
    "yield* a.lock(); if (false) return 1; yield* a.unlock();",
  ],
  ["look", "if (atomicLoad(w, i) === 0) yield* g();", "if (true) yield* g();"],
  [
    "answer",
    "const s = yield* loadSequence(a); return s === b;",
    "const s = yield* loadSequence(a); return true;",
  ],
  ["answer", "return readSequence(a) === b && c;", "return true && c;"],
  [
    "once",
    "while (atomicLoad(w, i) === 0) yield park(w, i);",
    "if (atomicLoad(w, i) === 0) yield park(w, i);",
  ],
  ["step", "yield* markRanges(machine, hmm);", ";"],
  ["order", "yield* first(a); yield* second(b);", "yield* second(b); yield* first(a);"],
];

/** Where a kind must keep its hands off. */
const LEAVES: readonly (readonly [kind: string, body: string])[] = [
  ["lock", "yield* a.unlock();"],
  ["reference", "counts.get(key);"],
  ["look", "if (a.length === 0) return 1;"],
  ["look", "yield* a.lock(); if (b.isGone) bug(`gone`);"],
  ["order", "const a = yield* first(); yield* second(a);"],
  ["order", "yield* first(); return yield* second();"],
  ["step", "yield* access(memory, `read`, i, 1, `x`);"],
  ["once", "while (more()) f();"],
  ["answer", "const s = f(a); return s === b;"],
];

const wrapped = (body: string): string => `function* f() { ${body} }`;

describe("kinds", () => {
  for (const [kind, body, becomes] of FINDS) {
    test(`${kind}: ${body}`, () => {
      const found = tool
        .mutantsOfText("mm/a", wrapped(body))
        .filter((mutant) => mutant.kind === kind);
      const texts = found.map(({ edits }) => tool.applyEdits(wrapped(body), edits));
      assert.ok(texts.includes(wrapped(becomes)), texts.join("\n"));
    });
  }
  for (const [kind, body] of LEAVES) {
    test(`${kind} leaves alone: ${body}`, () => {
      const found = tool
        .mutantsOfText("mm/a", wrapped(body))
        .filter((mutant) => mutant.kind === kind);
      assert.deepEqual(
        found.map(({ what }) => what),
        [],
      );
    });
  }

  test("each is tried here, and finds something in src/", () => {
    for (const { name } of tool.kinds)
      assert.ok(
        all.some(({ kind }) => kind === name),
        name,
      );
  });
});

test("keys are unique, the lines that people broke by hand are among the mutants, and no review is of a mutant that is gone", () => {
  assert.equal(new Set(all.map(({ key }) => key)).size, all.length);
  assert.equal(tool.handMadeOf(all).length, 16);
  assert.deepEqual(tool.staleReviews(all), []);
  assert.throws(() => tool.handMadeOf(all.slice(0, 1)), /is called .* any more/);
  const [first] = all;
  assert.ok(first !== undefined);
  assert.notDeepEqual(tool.staleReviews([first]), all.length > 1 ? undefined : []);
});

test("a place tells that it was reached, whatever it is", () => {
  const body =
    "if (a) yield* b.flush(); const c = yield* mmput(d); if (atomicLoad(w, i) === 0) return 1; yield* e(); yield* g();";
  const text = wrapped(body);
  const found = tool.mutantsOfText("mm/a", text);
  assert.ok(found.length > 5);
  const told = tool.withCalls(
    text,
    found.map(({ at }, number) => ({ number, at })),
  );
  for (const number of found.keys()) assert.ok(told.includes(`__mutantReached(${number})`));
  assert.ok(tool.mutantsOfText("mm/a", told).length > 0, "it still parses");
});

test("parts have each mutant once, and are added up only when all of one run are there", () => {
  const list = Array.from({ length: 10 }, (_, i) => i);
  const parts = [1, 2, 3].map((part) => tool.shardOf(list, { part, of: 3 }));
  assert.deepEqual(
    parts.flat().toSorted((a, b) => a - b),
    list,
  );
  const made = parts.map((judged, i) => ({
    mutants: 1,
    build: "b",
    question: "q",
    shard: { part: i + 1, of: 3 },
    all: list.length,
    judged: Object.fromEntries(judged.map((one) => [`m${one}`, {}])),
  }));
  assert.equal(tool.addParts(made, "b").size, list.length);
  assert.throws(() => tool.addParts(made.slice(1), "b"), /2 of 3 are there/);
  assert.throws(() => tool.addParts([...made, ...made], "b"), /part 1 is there twice/);
  assert.throws(() => tool.addParts(made, "c"), /of other code/);
  const [first] = made;
  assert.throws(
    () => tool.addParts([...made.slice(1), { ...first, judged: {} }], "b"),
    /of 10 mutants were judged/,
  );
});

describe("all mutants of a module in one text", () => {
  const text = `
    const done = [];
    const note = function* (name) { done.push(name); };
    export const table = { *release() { yield* note("r"); } };
    export class Lock {
      *lock() { done.push("lock"); }
      *unlock() { done.push("unlock"); }
    }
    export function* both(lock) {
      yield* lock.lock();
      const inner = function* () { yield* note("a"); yield* note("b"); };
      yield* inner();
      yield* lock.unlock();
    }
    export function run() {
      done.length = 0;
      for (const _ of both(new Lock())); for (const _ of table.release());
      return done.join(" ");
    }`;
  const mutants = tool.mutantsOfText("mm/a", text);
  interface Loaded {
    readonly run: () => string;
    readonly chooseMutant$: (number: number) => void;
  }
  const loaded = async (code: string): Promise<Loaded> =>
    (await import(`data:text/javascript,${encodeURIComponent(code)}`)) as Loaded;

  test("each that is chosen does what it does alone, and none changes nothing", async () => {
    const whole = tool.switched("mm/a", text, mutants);
    assert.equal(whole.keys.length, mutants.length);
    const both = await loaded(whole.text);
    const plain = (await loaded(text)).run();
    const results = new Set<string>();
    for (const mutant of mutants) {
      both.chooseMutant$(whole.keys.indexOf(mutant.key) + 1);
      const alone = await loaded(tool.applyEdits(text, mutant.edits));
      assert.equal(both.run(), alone.run(), mutant.key);
      results.add(both.run());
      both.chooseMutant$(0);
      assert.equal(both.run(), plain);
    }
    assert.ok(results.size > 3 && mutants.length > 5, [...results].join(", "));
  });

  test("one that changes more than a function's body is left out", () => {
    const [first] = mutants;
    assert.ok(first !== undefined);
    const wide = { ...first, edits: [{ start: 0, end: 1, text: "" }] };
    assert.deepEqual(tool.switched("mm/a", text, [wide]).keys, []);
  });

  test("those of src/ are all in", () => {
    const path = "src/mm/entries/zap.js";
    const own = all.filter((mutant) => mutant.path === path);
    const built = readFileSync(`${tool.buildPath}${path}`, "utf8");
    assert.deepEqual(
      tool.switched(path, built, own).keys,
      own.map(({ key }) => key),
    );
  });
});

describe("who notices", () => {
  const lane = new tool.Lane();
  after(() => lane.remove());

  /** A mutant that puts `text` at the beginning of a function. */
  function madeUp(
    text: string,
    module = "hmm/mirror/invalidate",
    name = "function* markRanges(",
  ): Mutant {
    const whole = readFileSync(`${lane.build}src/${module}.js`, "utf8");
    const start = whole.indexOf("{", whole.indexOf(")", whole.indexOf(name))) + 1;
    const edits = [{ start, end: start, text }];
    const path = `src/${module}.js`;
    return { key: "made up", path, module, kind: "look", what: text, edits, at: {}, digest: "" };
  }

  const budget = { seconds: 30, scenarioSeconds: 15 };
  async function ask(
    mutant: Mutant,
    names: readonly string[],
    standstillSeconds?: number,
  ): Promise<Opinion> {
    const examiner = new tool.Examiner(lane, mutant.path, [mutant], standstillSeconds);
    try {
      return await tool.askCheck(examiner, mutant, names, budget);
    } finally {
      examiner.end();
    }
  }

  const few = [
    "coverage/hmm/serve-vs-munmap",
    "coverage/hmm/madvise-vs-munmap",
    "holes/aba/before",
  ];
  const sequenceTest = { name: "test/hmm/sequence.test.js", seconds: 1 };

  test("nobody, of a mutant that changes nothing: it survives", async () => {
    const nothing = madeUp(" if (machine === undefined) return; ");
    assert.equal((await ask(nothing, few)).answer, "silent");
    assert.equal((await tool.askTests(lane, nothing, [sequenceTest], 10)).answer, "silent");
  });

  test("nobody, where nothing runs it", async () => {
    assert.equal((await ask(madeUp(""), [])).answer, "unreached");
    assert.equal((await tool.askTests(lane, madeUp(""), [], 10)).answer, "unreached");
  });

  test("hmm check, by a scenario that it names", async () => {
    const given = await ask(madeUp(" return; "), few);
    assert.deepEqual([given.answer, given.by], ["noticed", few[0]]);
  });

  test("hmm check, by a broken twin that is broken no longer", async () => {
    const twin = "holes/aba/before";
    const dead = madeUp(" throw new Error('no more'); ");
    const given = await ask(dead, [twin]);
    assert.deepEqual([given.answer, given.by], ["noticed", twin]);
  });

  test("a test, by its file", async () => {
    const same = madeUp(" return sequence; ", "hmm/range-record", "function nextSequence(");
    const given = await tool.askTests(lane, same, [sequenceTest], 10);
    assert.deepEqual([given.answer, given.by], ["noticed", sequenceTest.name]);
  });

  test("by time-out, of one that hangs", async () => {
    assert.equal((await ask(madeUp(" for (;;); "), few, 4)).answer, "time-out");
  });

  test("after one that hangs another is judged, and the module as it was, by the same examiner", async () => {
    const hangs = { ...madeUp(" for (;;); "), key: "hangs" };
    const returns = { ...madeUp(" return; "), key: "returns" };
    const examiner = new tool.Examiner(lane, hangs.path, [hangs, returns], 4);
    try {
      const answers = [];
      for (const mutant of [returns, hangs, undefined, returns])
        answers.push((await tool.askCheck(examiner, mutant, few, budget)).answer);
      assert.deepEqual(answers, ["noticed", "time-out", "silent", "noticed"]);
    } finally {
      examiner.end();
    }
  });

  test("nobody in too little time", async () => {
    const examiner = new tool.Examiner(lane, "src/hmm/mirror/invalidate.js", []);
    const none = { seconds: 0, scenarioSeconds: 0 };
    try {
      assert.equal((await tool.askCheck(examiner, undefined, few, none)).answer, "silent");
    } finally {
      examiner.end();
    }
  });

  test("the lane is as it was afterwards", () => {
    for (const module of [
      "src/hmm/mirror/invalidate.js",
      "stepped/src/hmm/mirror/invalidate.js",
      "src/hmm/range-record.js",
    ]) {
      assert.equal(
        readFileSync(`${lane.build}${module}`, "utf8"),
        readFileSync(`${tool.buildPath}${module}`, "utf8"),
      );
    }
  });

  for (const { name, mutant, scenario } of tool.handMadeOf(all)) {
    test(`hmm check, of what people broke by hand: ${name}`, async () => {
      const given = await ask(mutant, [scenario]);
      assert.deepEqual([given.answer, given.by], ["noticed", scenario], given.why);
    });
  }

  /**
   * Of the sample's mutants, tried on so many scenarios each, so many percent at least are noticed.
   */
  const SAMPLE = { seed: 3, mutants: 4, scenarios: 8, percent: 25 } as const;

  test(`a sample of ${SAMPLE.mutants}, each tried on the ${SAMPLE.scenarios} likeliest scenarios`, async (t) => {
    const { seed, mutants, scenarios, percent } = SAMPLE;
    const sayings = await tool.readSayings();
    const likely = new tool.Likely(sayings);
    const named = new Set(
      sayings.covered.flatMap(({ runs }) =>
        Object.values(runs)
          .flat()
          .map((name) => name.replace(/\..*/, "")),
      ),
    );
    const drawn = all
      .filter(({ module }) => named.has(module))
      .map((mutant) => ({ mutant, at: tool.digestOf(`${seed} ${mutant.key}`) }))
      .toSorted((a, b) => (a.at < b.at ? -1 : 1))
      .slice(0, mutants);
    let noticed = 0;
    for (const { mutant } of drawn) {
      const witnesses = [...sayings.digests.keys()].map((name) => ({
        name,
        seconds: 1,
        isPrepared: false,
      }));
      const { answer, by } = await ask(
        mutant,
        likely.inOrder(mutant, witnesses).slice(0, scenarios),
      );
      if (answer === "noticed" || answer === "time-out") noticed++;
      t.diagnostic(`${mutant.key}: ${answer} ${by}`);
    }
    assert.ok(
      noticed >= (mutants * percent) / 100,
      `seed ${seed}: ${noticed} of ${mutants} were noticed`,
    );
  });
});

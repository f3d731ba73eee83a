/** @module The harness: shipped hmm under the checker, with tasks that allocate from arenas. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import { HARNESS_PAGE, harnessScenario } from "../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice, HarnessDeviceRecord } from "../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../src/checker/scenario.ts";
import { Hmm } from "../../src/hmm/hmm-struct.ts";
import { hmmRangeAlloc, hmmRangeRegister } from "../../src/hmm/range/range.ts";
import { MADV_DONTNEED, doMadvise } from "../../src/mm/calls/madvise.ts";
import { PAGE_BYTES, ptePfn } from "../../src/mm/pte.ts";
import { DONE_TRUE, type Task } from "../../src/sync/tasks/task.ts";

function serveAgainstUnmap(options: { readonly asks: boolean }): AnyScenario {
  return harnessScenario({
    name: "harness/serve-vs-dontneed",
    harness: { pages: 1 },
    setup: (harness) => HarnessDevice.registered(harness),
    tasks: {
      device: (device) =>
        device.serve(HARNESS_PAGE, 1, options.asks ? {} : { isValid: () => DONE_TRUE }),
      cpu: (_device, { machine, mm }) =>
        doMadvise(machine, mm, HARNESS_PAGE * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED),
    },
    check: (device) => device.requireCoherent(),
  });
}

test("a device's fault races with an unmap in every order and never keeps a frame", () => {
  const { complete, blocked, findings } = explore(serveAgainstUnmap({ asks: true }));
  assert.ok(complete);
  assert.equal(blocked, 0);
  assert.deepEqual(findings, []);
});

test("a driver that does not ask under its lock whether the range is valid is found", () => {
  const { findings } = explore(serveAgainstUnmap({ asks: false }), { stopAtFinding: true });
  assert.match(findings[0]?.message ?? "", /device reaches frame/);
});

test("the engines agree on the shipped code", () => {
  const scenario = serveAgainstUnmap({ asks: true });
  const { keys } = explore(scenario, { collectClasses: true });
  assert.deepEqual(keys, explore(scenario, { collectClasses: true, engine: "source" }).keys);
});

function allocatesMuch(balances: boolean): AnyScenario {
  function* allocate(_shared: undefined, { machine: { heap, ram } }: HmmHarness): Task<void> {
    yield* ram.refs.pagePut(yield* ram.allocFrame(true));
    const words = yield* heap.allocWords(512);
    const at = yield* heap.alloc(HarnessDeviceRecord);
    yield* heap.freeWords(words, 512);
    if (balances) yield* heap.free(HarnessDeviceRecord, at);
  }
  return harnessScenario({
    name: "harness/accounting",
    balanced: true,
    setup: () => undefined,
    tasks: { a: allocate, b: allocate },
  });
}

test("tasks that allocate from arenas do not depend on each other", () => {
  const { classes, findings } = explore(allocatesMuch(true));
  assert.equal(classes, 1);
  assert.deepEqual(findings, []);
});

test("two tasks that count one frame depend on each other", () => {
  const scenario = harnessScenario({
    name: "harness/frame",
    harness: { pages: 1 },
    setup: (harness) => ptePfn(harness.entryOf(HARNESS_PAGE)),
    tasks: {
      a: (pfn, { machine }) => machine.ram.refs.pageGet(pfn),
      b: (pfn, { machine }) => machine.ram.refs.pageGet(pfn),
    },
  });
  assert.equal(explore(scenario).classes, 2);
});

test("what a task leaves behind is missed", () => {
  const { findings } = explore(allocatesMuch(false));
  assert.match(findings[0]?.message ?? "", /does not balance: .*2 harnessDevice/);
});

function unmapsTwice(frees: "object" | "table"): AnyScenario {
  return harnessScenario({
    name: "harness/double-free",
    setup: (harness) => ({
      object: harness.run(harness.machine.heap.alloc(HarnessDeviceRecord)),
      table: harness.run(harness.machine.heap.allocWords(1024)),
    }),
    tasks: {
      *twice(shared, { machine: { heap } }) {
        for (let i = 0; i < 2; i++) {
          if (frees === "object") yield* heap.free(HarnessDeviceRecord, shared.object);
          else yield* heap.freeWords(shared.table, 1024);
        }
      },
    },
  });
}

test("what the set-up allocated can be freed by a task, once", () => {
  for (const frees of ["object", "table"] as const) {
    assert.ok(explore(unmapsTwice(frees)).findings.some(({ kind }) => kind === "double-free"));
  }
});

test("every execution begins with the RAM of the set-up", () => {
  const scenario = harnessScenario({
    name: "harness/ram",
    harness: { pages: 1 },
    setup: () => undefined,
    tasks: {
      *writer(_shared, harness) {
        yield* harness.mm.mmapLock.downRead();
        const pfn = ptePfn(harness.entryOf(HARNESS_PAGE));
        const { i32 } = harness.machine.ram.sections.of(pfn);
        const at = harness.machine.ram.sections.wordIndex(pfn);
        assert.equal(i32[at], 0);
        i32[at] = 7;
        const own = yield* harness.machine.ram.allocFrame(true);
        const words = harness.machine.ram.sections.of(own).i32;
        assert.equal(words[harness.machine.ram.sections.wordIndex(own)], 0);
        words[harness.machine.ram.sections.wordIndex(own)] = 9;
        yield* harness.machine.ram.refs.pagePut(own);
        yield* harness.mm.mmapLock.upRead();
      },
      *other(_shared, harness) {
        yield* harness.mm.mmapLock.downWrite();
        yield* harness.mm.mmapLock.upWrite();
      },
    },
    balanced: true,
  });
  const { executions, findings } = explore(scenario, { engine: "naive" });
  assert.ok(executions > 2);
  assert.deepEqual(findings, []);
});

/** Takes two frames, or none. */
function takesTwo(givesBack: boolean): AnyScenario {
  function* takeTwo({ machine: { ram } }: HmmHarness): Task<boolean> {
    const first = yield* ram.allocFrame(true);
    const second = first === 0 ? 0 : yield* ram.allocFrame(true);
    if (second !== 0) {
      yield* ram.refs.pagePut(second);
      yield* ram.refs.pagePut(first);
      return true;
    }
    if (first !== 0 && givesBack) yield* ram.refs.pagePut(first);
    return false;
  }
  return harnessScenario({
    name: "harness/shortage",
    harness: { pages: 0, shortage: true },
    balanced: true,
    setup: () => undefined,
    tasks: {
      shortage: (_shared, harness) => harness.shortage.begin(),
      *takes(_shared, harness) {
        const isDone = yield* takeTwo(harness);
        yield* harness.shortage.end();
        if (!isDone) assert.ok(yield* takeTwo(harness), "there is memory again");
      },
    },
  });
}

test("memory runs out before each allocation, and whoever then keeps something is found", () => {
  const { findings, complete, executions } = explore(takesTwo(true));
  assert.ok(complete);
  // Before the first allocation, before the second, after that, and not at all.
  assert.equal(executions, 4);
  assert.deepEqual(findings, []);
  const { findings: ofTwin } = explore(takesTwo(false));
  assert.match(ofTwin[0]?.message ?? "", /accounting does not balance|never freed/);
});

function looksAtTheHmm(locks: boolean): AnyScenario {
  return harnessScenario({
    name: "harness/race",
    harness: { pages: 0 },
    setup: (harness) => new HarnessDevice(harness),
    tasks: {
      registers: (device) => device.register(),
      *looks(_device, { mm }) {
        if (locks) yield* mm.pageTableLock.lock();
        assert.ok(mm.hmm >= 0);
        if (locks) yield* mm.pageTableLock.unlock();
      },
    },
  });
}

/** `owns` of a range is stored through the undo log, past the accessor of its field. */
function looksAtARange(locks: boolean): AnyScenario {
  return harnessScenario({
    name: "harness/race-of-owns",
    harness: { pages: 1 },
    mayRemain: "anything",
    setup(harness) {
      const device = HarnessDevice.registered(harness);
      const range = harness.run(hmmRangeAlloc(harness.machine, { pfns: new Uint32Array(1) }));
      assert.ok(typeof range === "object");
      return { device, range };
    },
    tasks: {
      *registers({ device, range }) {
        const [start, end] = [HARNESS_PAGE * PAGE_BYTES, (HARNESS_PAGE + 1) * PAGE_BYTES];
        assert.equal(yield* hmmRangeRegister(range, device.mirror, start, end), 0);
      },
      *looks({ range }, { machine, mm }) {
        const { rangesLock } = Hmm.at(machine.memory, mm.hmm);
        if (locks) yield* rangesLock.lock();
        assert.ok(range.record.owns >= 0);
        if (locks) yield* rangesLock.unlock();
      },
    },
  });
}

test("what a range owns is watched for races, though it is stored through the undo log", () => {
  assert.deepEqual(explore(looksAtARange(true)).findings, []);
  const { findings } = explore(looksAtARange(false));
  assert.deepEqual(
    findings.map(({ kind, sites }) => `${kind} of ${sites[0]?.label ?? ""}`),
    ["data-race of hmmRange.owns"],
  );
});

test("a field of a shipped struct that is read without its lock is a data race", () => {
  const { findings } = explore(looksAtTheHmm(false));
  assert.deepEqual(
    findings.map(({ kind, sites }) => `${kind} of ${sites[0]?.label ?? ""}`),
    ["data-race of mm.hmm"],
  );
  assert.deepEqual(explore(looksAtTheHmm(true)).findings, []);
});

/** @module The rig: shipped hmm under the checker, with tasks that allocate from arenas. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import { RIG_PAGE, rigScenario } from "../../src/checker/rig/hmm-rig.ts";
import type { HmmRig } from "../../src/checker/rig/hmm-rig.ts";
import { RigDevice, RigDeviceRecord } from "../../src/checker/rig/rig-device.ts";
import type { AnyScenario } from "../../src/checker/scenario.ts";
import { MADV_DONTNEED, doMadvise } from "../../src/mm/madvise.ts";
import { PAGE_BYTES, ptePfn } from "../../src/mm/pte.ts";
import { DONE_TRUE, type Task } from "../../src/sync/task.ts";

function serveAgainstUnmap(options: { readonly asks: boolean }): AnyScenario {
  return rigScenario({
    name: "rig/serve-vs-dontneed",
    rig: { pages: 1 },
    setup: (rig) => RigDevice.registered(rig),
    tasks: {
      device: (device) =>
        device.serve(RIG_PAGE, 1, options.asks ? {} : { isValid: () => DONE_TRUE }),
      cpu: (_device, { machine, mm }) =>
        doMadvise(machine, mm, RIG_PAGE * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED),
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
  function* allocate(_shared: undefined, { machine: { heap, ram } }: HmmRig): Task<void> {
    yield* ram.pagePut(yield* ram.allocFrame(true));
    const words = yield* heap.allocWords(512);
    const at = yield* heap.alloc(RigDeviceRecord);
    yield* heap.freeWords(words, 512);
    if (balances) yield* heap.free(RigDeviceRecord, at);
  }
  return rigScenario({
    name: "rig/books",
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
  const scenario = rigScenario({
    name: "rig/frame",
    rig: { pages: 1 },
    setup: (rig) => ptePfn(rig.entryOf(RIG_PAGE)),
    tasks: {
      a: (pfn, { machine }) => machine.ram.pageGet(pfn),
      b: (pfn, { machine }) => machine.ram.pageGet(pfn),
    },
  });
  assert.equal(explore(scenario).classes, 2);
});

test("what a task leaves behind is missed", () => {
  const { findings } = explore(allocatesMuch(false));
  assert.match(findings[0]?.message ?? "", /do not balance: .*2 rigDevice/);
});

function unmapsTwice(frees: "object" | "table"): AnyScenario {
  return rigScenario({
    name: "rig/double-free",
    setup: (rig) => ({
      object: rig.run(rig.machine.heap.alloc(RigDeviceRecord)),
      table: rig.run(rig.machine.heap.allocWords(1024)),
    }),
    tasks: {
      *twice(shared, { machine: { heap } }) {
        for (let i = 0; i < 2; i++) {
          if (frees === "object") yield* heap.free(RigDeviceRecord, shared.object);
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
  const scenario = rigScenario({
    name: "rig/ram",
    rig: { pages: 1 },
    setup: () => undefined,
    tasks: {
      *writer(_shared, rig) {
        yield* rig.mm.mmapLock.downRead();
        const pfn = ptePfn(rig.entryOf(RIG_PAGE));
        const { i32 } = rig.machine.ram.section(pfn);
        const at = rig.machine.ram.wordIndex(pfn);
        assert.equal(i32[at], 0);
        i32[at] = 7;
        const own = yield* rig.machine.ram.allocFrame(true);
        const words = rig.machine.ram.section(own).i32;
        assert.equal(words[rig.machine.ram.wordIndex(own)], 0);
        words[rig.machine.ram.wordIndex(own)] = 9;
        yield* rig.machine.ram.pagePut(own);
        yield* rig.mm.mmapLock.upRead();
      },
      *other(_shared, rig) {
        yield* rig.mm.mmapLock.downWrite();
        yield* rig.mm.mmapLock.upWrite();
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
  function* takeTwo({ machine: { ram } }: HmmRig): Task<boolean> {
    const first = yield* ram.allocFrame(true);
    const second = first === 0 ? 0 : yield* ram.allocFrame(true);
    if (second !== 0) {
      yield* ram.pagePut(second);
      yield* ram.pagePut(first);
      return true;
    }
    if (first !== 0 && givesBack) yield* ram.pagePut(first);
    return false;
  }
  return rigScenario({
    name: "rig/shortage",
    rig: { pages: 0, shortage: true },
    balanced: true,
    setup: () => undefined,
    tasks: {
      shortage: (_shared, rig) => rig.shortage.begin(),
      *takes(_shared, rig) {
        const isDone = yield* takeTwo(rig);
        yield* rig.shortage.end();
        if (!isDone) assert.ok(yield* takeTwo(rig), "there is memory again");
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
  assert.match(ofTwin[0]?.message ?? "", /books do not balance|never freed/);
});

function looksAtTheHmm(locks: boolean): AnyScenario {
  return rigScenario({
    name: "rig/race",
    rig: { pages: 0 },
    setup: (rig) => new RigDevice(rig),
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

test("a field of a shipped struct that is read without its lock is a data race", () => {
  const { findings } = explore(looksAtTheHmm(false));
  assert.deepEqual(
    findings.map(({ kind, sites }) => `${kind} of ${sites[0]?.label ?? ""}`),
    ["data-race of mm.hmm"],
  );
  assert.deepEqual(explore(looksAtTheHmm(true)).findings, []);
});

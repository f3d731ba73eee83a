/** @module Whatever two operations do at once: each access that another thread's could race with is a scheduling point. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { RIG_PAGE, rigScenario } from "../../src/checker/rig/hmm-rig.ts";
import type { HmmRig } from "../../src/checker/rig/hmm-rig.ts";
import { RigDevice } from "../../src/checker/rig/rig-device.ts";
import type { AnyScenario } from "../../src/checker/scenario.ts";
import { cpuFault } from "../../src/mm/cpu-fault.ts";
import { doFork } from "../../src/mm/fork.ts";
import { MADV_DONTNEED, doMadvise } from "../../src/mm/madvise.ts";
import { MAP_FIXED_REPLACE, doMmap, doMunmap } from "../../src/mm/mmap.ts";
import { doMprotect } from "../../src/mm/mprotect.ts";
import { doMremap } from "../../src/mm/mremap.ts";
import { pteIndex, leafOf } from "../../src/mm/page-table.ts";
import { PAGE_BYTES } from "../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../src/mm/view-open.ts";
import { VM_READ, VM_WRITE } from "../../src/mm/vma.ts";
import { zapNonBlocking } from "../../src/mm/zap.ts";
import { atomicLoad } from "../../src/sync/atomics.ts";
import type { Task } from "../../src/sync/task.ts";
import { exploreEveryAccess } from "./every-access.ts";

const ADDRESS = RIG_PAGE * PAGE_BYTES;
const BOTH = VM_READ | VM_WRITE;
/** Executions of each pair, by chance. A hidden access shows in most of them. */
const EXECUTIONS = 20;

/**
 * Where an access is no step and may stay so. Registering a mirror asserts that the address space has users: the caller holds one, so
 * the answer is the same whatever the others do to the count.
 */
const harmless = ["src/hmm/mirror.ts:"];

interface Shared {
  readonly device: RigDevice;
  /** One for each task. */
  readonly others: readonly [RigDevice, RigDevice];
}

type Operation = (shared: Shared, rig: HmmRig, number: 0 | 1) => Task<unknown>;

const operations: Readonly<Record<string, Operation>> = {
  serve: ({ device }) => device.serve(RIG_PAGE, 2),
  serveForWriting: ({ device }) => device.serve(RIG_PAGE, 1, { write: true }),
  faultForReading: (_shared, { machine, mm }) => cpuFault(machine, mm, RIG_PAGE, false),
  faultForWriting: (_shared, { machine, mm }) => cpuFault(machine, mm, RIG_PAGE, true),
  dontneed: (_shared, { machine, mm }) => doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_DONTNEED),
  munmap: (_shared, { machine, mm }) => doMunmap(machine, mm, ADDRESS, PAGE_BYTES),
  mmap: (_shared, { machine, mm }) =>
    doMmap(machine, mm, {
      lengthBytes: PAGE_BYTES,
      address: ADDRESS,
      placement: MAP_FIXED_REPLACE,
      protection: BOTH,
      shared: false,
      bufferPfn: 0,
      offsetPages: 0,
    }),
  mprotect: (_shared, { machine, mm }) => doMprotect(machine, mm, ADDRESS, PAGE_BYTES, VM_READ),
  mremap: (_shared, { machine, mm }) =>
    doMremap(machine, mm, {
      address: ADDRESS,
      oldLengthBytes: PAGE_BYTES,
      newLengthBytes: PAGE_BYTES,
      mayMove: true,
      to: ADDRESS + 8 * PAGE_BYTES,
    }),
  fork: (_shared, { machine, mm }) => doFork(machine, mm),
  *view(_shared, { machine, mm }) {
    const hold = yield* viewOpen(machine, mm, RIG_PAGE, RIG_PAGE + 1, true);
    if (hold > 0) yield* viewClose(machine, hold);
  },
  *reap(_shared, { machine, mm }) {
    yield* mm.mmapLock.downRead();
    yield* zapNonBlocking(machine, mm, RIG_PAGE, RIG_PAGE + 1);
    yield* mm.mmapLock.upRead();
  },
  *mirror({ others }, _rig, number) {
    const other = others[number];
    if ((yield* other.register()) === 0) yield* other.unregister();
  },
};

function scenarioOf(names: readonly string[], present: number, shared: boolean): AnyScenario {
  const tasks = names.map((name, i) => {
    const operation = operations[name]!; // a name of the table above
    return [`${name}${i}`, (s: Shared, rig: HmmRig) => operation(s, rig, i === 0 ? 0 : 1)] as const;
  });
  return rigScenario<Shared>({
    name: `${names.join(" and ")}, ${present === 0 ? "absent" : "present"}${shared ? ", shared" : ""}`,
    rig: shared ? { pages: 0, arenaWords: 16_384 } : { pages: 2, present, arenaWords: 16_384 },
    setup(rig) {
      if (shared) rig.map(RIG_PAGE, 2, BOTH, true);
      return { device: RigDevice.registered(rig), others: [new RigDevice(rig), new RigDevice(rig)] as const };
    },
    tasks: Object.fromEntries(tasks),
  });
}

const names = Object.keys(operations);
for (const [i, first] of names.entries()) {
  test(`${first} against everything`, () => {
    const hidden = new Set<string>();
    for (const second of names.slice(i)) {
      for (const [present, shared] of [
        [0, false],
        [2, false],
        [0, true],
      ] as const) {
        const scenario = scenarioOf([first, second], present, shared);
        const { findings } = exploreEveryAccess(scenario, { engine: "random", executions: EXECUTIONS });
        for (const { kind, message, sites } of findings) {
          const places = sites.map(({ place }) => place ?? "").join(" and ");
          if (harmless.some((place) => places.includes(place))) continue;
          hidden.add(`${kind}: ${message} at ${places} (${scenario.name})`);
        }
      }
    }
    assert.deepEqual([...hidden], []);
  });
}

test("an access that no step names is found", () => {
  const scenario = rigScenario({
    name: "hidden",
    rig: { pages: 1, present: 0 },
    setup: (rig) => {
      rig.run(cpuFault(rig.machine, rig.mm, RIG_PAGE, false));
      return undefined;
    },
    tasks: {
      fault: (_shared, { machine, mm }) => cpuFault(machine, mm, RIG_PAGE, true),
      *look(_shared, { machine: { memory }, mm }) {
        yield* mm.mmapLock.downRead();
        atomicLoad(memory.words, pteIndex(leafOf(memory, mm.pgd, RIG_PAGE), RIG_PAGE));
        yield* mm.mmapLock.upRead();
      },
    },
  });
  const { findings } = exploreEveryAccess(scenario, { engine: "random", executions: EXECUTIONS });
  assert.ok(findings.some(({ kind }) => kind === "data-race"));
});

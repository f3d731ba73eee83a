/**
 * @module Calls of drivers beside the pairs of pairs.ts: two threads wait for one page, a fault
 * waits by itself, answers are counted, pages are marked dirty, drivers' names are looked up, a
 * view was open before the device was registered.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import type { AnyScenario, ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { hmmRangeDmaMap, hmmRangeDmaUnmap } from "../../../../src/hmm/walk/dma.ts";
import { DEFAULT_ENCODING, entryIsValid, entryPfn } from "../../../../src/hmm/entry.ts";
import { hmmRangeFaultUnlockedTimeout } from "../../../../src/hmm/walk/fault.ts";
import { Hmm } from "../../../../src/hmm/hmm-struct.ts";
import { missingMirrorOps, registerMirrorOps } from "../../../../src/hmm/mirror/mirror-ops.ts";
import { hmmMirrorUnregister } from "../../../../src/hmm/mirror/mirror.ts";
import {
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
  hmmRangeUnregister,
  withHmmRange,
} from "../../../../src/hmm/range/range.ts";
import type { HmmRange } from "../../../../src/hmm/range/range.ts";
import { hmmStatistics } from "../../../../src/hmm/mirror/statistics.ts";
import { hmmRangeValid, hmmRangeWaitUntilValid } from "../../../../src/hmm/range/valid.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import { PAGE_BYTES, PTE_DIRTY, PTE_PRESENT, PTE_WRITE, ptePfn } from "../../../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { VM_READ } from "../../../../src/mm/vma/vma.ts";
import { zapNonBlocking } from "../../../../src/mm/entries/zap.ts";
import { EVENT_CLEAR, invalidateRange } from "../../../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  notifierSrcu,
} from "../../../../src/notifier/mmu-notifier.ts";
import { EAGAIN, EBUSY, EFAULT, EINVAL } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { listedResources } from "../../../../src/sync/lockdep/resources.ts";
import { DONE_TRUE, type Task } from "../../../../src/sync/tasks/task.ts";
import { deviceOf } from "../../patches/stage.ts";
import type { Covered } from "../covered.ts";

/** The second task's thread. */
const SECOND = 1;

const ADDRESS: number = HARNESS_PAGE * PAGE_BYTES;
const BOUNDED: ScenarioExploration = { engine: "bounded", preemptions: 2 };

function registered(
  harness: HmmHarness,
  device: HarnessDevice,
  defaultFlags: number = DEFAULT_ENCODING.flags.valid,
): HmmRange {
  const made = harness.run(
    hmmRangeAlloc(harness.machine, { pfns: new Uint32Array(1), defaultFlags }),
  );
  if (typeof made === "number") throw new Error(`no range: ${made}`);
  const errno = harness.run(hmmRangeRegister(made, device.mirror, ADDRESS, ADDRESS + PAGE_BYTES));
  assert(errno === 0, `registering answered ${errno}`);
  return made;
}

function covered(
  scenario: AnyScenario,
  runs: Readonly<Record<string, readonly string[]>>,
  twins: readonly AnyScenario[] = [],
): Covered {
  return { layer: "hmm", scenario, twins, runs };
}

interface Waiting {
  readonly ranges: readonly HmmRange[];
}

/** An invalidation of the page is in flight from the set-up on. */
const twoWait: Covered = covered(
  harnessScenario<Waiting>({
    name: "coverage/hmm/two-wait",
    summary:
      "Two threads wait until the page is valid, each with a range of its own: the end wakes both.",
    harness: { pages: 1 },
    setup: (harness) => {
      const device = HarnessDevice.registered(harness);
      const ranges = [registered(harness, device), registered(harness, device)];
      const range = invalidateRange(harness.mm, HARNESS_PAGE, HARNESS_PAGE + 1, EVENT_CLEAR);
      harness.run(mmuNotifierInvalidateRangeStart(harness.machine, range));
      return { ranges };
    },
    tasks: {
      first: ({ ranges: [range] }) => waitFor(range),
      second: ({ ranges: [, range] }) => waitFor(range),
      end: (_world, harness) =>
        mmuNotifierInvalidateRangeEnd(
          harness.machine,
          invalidateRange(harness.mm, HARNESS_PAGE, HARNESS_PAGE + 1, EVENT_CLEAR),
        ),
    },
  }),
  {
    first: ["hmm/range/valid.hmmRangeWaitUntilValid"],
    second: ["hmm/range/valid.hmmRangeWaitUntilValid"],
    end: ["hmm/mirror/invalidate.hmmInvalidateRangeEnd"],
  },
);

function* waitFor(range: HmmRange | undefined): Task<void> {
  if (range === undefined) return;
  assert(
    yield* hmmRangeWaitUntilValid(range, Infinity),
    "the wait ended, and the range is not valid",
  );
}

interface Faulting {
  readonly device: HarnessDevice;
  readonly range: HmmRange;
}

function faulting(harness: HmmHarness): Faulting {
  const device = HarnessDevice.registered(harness);
  return { device, range: registered(harness, device) };
}

type Recheck = (range: HmmRange) => Task<boolean>;

/** Without a timeout. */
function* faultForEver({ device, range }: Faulting, recheck: Recheck): Task<void> {
  for (let round = 0; round < 3; round++) {
    const answer = yield* hmmRangeFaultUnlockedTimeout(range, 0);
    assert(answer === 1, `the fault answered ${answer}`);
    yield* device.driverLock.lock();
    const isValid = yield* recheck(range);
    if (isValid) device.program(range);
    yield* device.driverLock.unlock();
    if (isValid) return;
  }
}

const FAULT_UNLOCKED = "coverage/hmm/fault-unlocked-vs-madvise";

function faultUnlocked(name: string, summary: string, recheck: Recheck): AnyScenario {
  return harnessScenario<Faulting>({
    name,
    summary,
    ...(name === FAULT_UNLOCKED ? {} : { expects: "assertion" }),
    harness: { pages: 1 },
    exploration: BOUNDED,
    setup: faulting,
    tasks: {
      fault: (world) => faultForEver(world, recheck),
      madvise: (_world, harness) => harness.discard(HARNESS_PAGE, 1),
    },
    reopen: ({ range }) => void (range.notifierSeq = 1),
    check: ({ device }) => device.requireCoherent(),
  });
}

const faultVsMadvise: Covered = covered(
  faultUnlocked(
    FAULT_UNLOCKED,
    "A device's fault takes the mmap lock itself and retries while it is busy; the CPU discards the page.",
    hmmRangeValid,
  ),
  {
    fault: ["hmm/walk/fault.hmmRangeFaultUnlockedTimeout", "hmm/walk/fault.hmmRangeFault"],
    madvise: ["mm/calls/madvise.doMadvise"],
  },
  [
    faultUnlocked(
      `${FAULT_UNLOCKED}/does-not-recheck`,
      "The driver programs the device without the recheck under its lock.",
      () => DONE_TRUE,
    ),
  ],
);

/** Answers EAGAIN where it may, and a wrong errno where it may not. */
const AWKWARD_OPS: number = registerMirrorOps("awkward harness device", {
  *invalidate(_mirror, { blockable }) {
    return blockable ? EINVAL : EAGAIN;
  },
});

function* reap({ machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  const errno = yield* zapNonBlocking(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1);
  yield* mm.mmapLock.upRead();
  assert(errno === EAGAIN, `the reaper was answered ${errno}`);
}

function requireCounts(
  harness: HmmHarness,
  refusals: number,
  mirrorErrors: number,
  starts: number,
): void {
  const hmm = Hmm.at(harness.machine.memory, harness.mm.hmm);
  const seen = `${hmm.refusals}, ${hmm.mirrorErrors}, ${hmm.starts}, ${hmm.notifiers}, ${hmm.releasedWithRanges}`;
  assert(
    seen === `${refusals}, ${mirrorErrors}, ${starts}, 0, 0`,
    `refusals, errors, starts, in flight, left: ${seen}`,
  );
}

function counting(
  name: string,
  first: "reap" | "discard",
  second: "reap" | "discard",
  refusals: number,
): Covered {
  const bodies = {
    reap: (_device: HarnessDevice, harness: HmmHarness) => reap(harness),
    discard: (_device: HarnessDevice, harness: HmmHarness) => harness.discard(HARNESS_PAGE, 1),
  };
  const runs = ["hmm/mirror/invalidate.hmmInvalidateRangeStart"];
  return covered(
    harnessScenario<HarnessDevice>({
      name: `coverage/hmm/${name}`,
      summary: "Refusals and wrong answers of a driver are counted.",
      harness: { pages: 1 },
      exploration: BOUNDED,
      mayRemain: [],
      setup: (harness) => HarnessDevice.registered(harness, AWKWARD_OPS),
      tasks: { first: bodies[first], second: bodies[second] },
      check: (_device, harness) => requireCounts(harness, refusals, 2 - refusals, 2),
    }),
    { first: runs, second: runs },
  );
}

/** The hmm may be freed while its counts are read. */
const statistics: Covered = covered(
  harnessScenario<HarnessDevice>({
    name: "coverage/hmm/statistics-vs-last-unregister",
    summary:
      "The counts of an hmm are read while its last mirror is unregistered, which frees the hmm.",
    harness: { pages: 1 },
    mayRemain: [],
    setup: (harness) => deviceOf(harness, SECOND),
    tasks: {
      *ask(_device, { machine, mm }) {
        const numbers = yield* hmmStatistics(machine, mm);
        if (numbers !== undefined)
          assert(numbers.ranges === 0 && numbers.notifiers === 0, "something is in flight");
      },
      unregister: (device) => device.unregister(),
    },
    check: (_device, harness) => assert(harness.mm.hmm === 0, "the space still names its hmm"),
  }),
  {
    ask: ["hmm/mirror/statistics.hmmStatistics"],
    unregister: ["hmm/mirror/mirror.hmmMirrorUnregister", "hmm/mirror/hmm.hmmPut"],
  },
);

type Ask = (harness: HmmHarness) => Task<unknown>;

const COUNTS = "coverage/hmm/statistics-vs-madvise";

function counts(name: string, summary: string, ask: Ask): AnyScenario {
  return harnessScenario<HarnessDevice>({
    name,
    summary,
    ...(name === COUNTS ? {} : { expects: "data-race" }),
    harness: { pages: 1 },
    exploration: BOUNDED,
    setup: (harness) => HarnessDevice.registered(harness),
    tasks: {
      ask: (_device, harness) => ask(harness),
      madvise: (_device, harness) => harness.discard(HARNESS_PAGE, 1),
    },
  });
}

const countsVsMadvise: Covered = covered(
  counts(COUNTS, "The counts of an hmm are read while they change.", function* ({ machine, mm }) {
    const numbers = yield* hmmStatistics(machine, mm);
    assert(numbers !== undefined, "the space has a mirror, and no hmm");
    const { notifiers, starts } = numbers;
    assert(notifiers <= starts && starts <= 1, `${starts} started, ${notifiers} in flight`);
  }),
  {
    ask: ["hmm/mirror/statistics.hmmStatistics"],
    madvise: ["hmm/mirror/invalidate.hmmInvalidateRangeStart"],
  },
  [
    counts(
      `${COUNTS}/without-lock`,
      "The counts are read without rangesLock.",
      function* ({ machine, mm }) {
        const { notifiers, starts } = Hmm.at(machine.memory, mm.hmm);
        assert(notifiers <= starts, "more is in flight than has begun");
      },
    ),
  ],
);

const missing: Covered = covered(
  harnessScenario<readonly HarnessDevice[]>({
    name: "coverage/hmm/missing-vs-mirrors",
    summary:
      "A thread looks up whether it lacks a driver's code while a mirror is registered and unregistered.",
    harness: { pages: 1 },
    setup: (harness) => [
      HarnessDevice.registered(harness),
      new HarnessDevice(harness, AWKWARD_OPS),
    ],
    tasks: {
      *ask(_devices, { machine }) {
        const names = yield* missingMirrorOps(machine);
        assert(names.length === 0, `this thread lacks ${names.join(", ")}`);
      },
      *comeAndGo([, device], harness) {
        if (device === undefined) return;
        const errno = yield* device.register();
        assert(errno === 0, `registering answered ${errno}`);
        yield* device.unregister();
        assert(
          (yield* missingMirrorOps(harness.machine)).length === 0,
          "this thread lacks something",
        );
      },
    },
    exploration: BOUNDED,
  }),
  {
    ask: ["hmm/mirror/mirror-ops.missingMirrorOps"],
    comeAndGo: ["hmm/mirror/mirror-ops.useMirrorOps", "hmm/mirror/mirror-ops.dropMirrorOps"],
  },
);

/** Maps the page for writing by DMA, and marks it dirty afterwards. */
function* mapAndDirty({ range, device }: Faulting, { mm }: HmmHarness): Task<void> {
  const iommu = { mapPage: (pfn: number): number => pfn, unmapPage: (): void => {} };
  const addresses = new Float64Array(1);
  yield* mm.mmapLock.downRead();
  const pages = yield* hmmRangeDmaMap(range, iommu, addresses);
  if (pages > 0) {
    yield* device.driverLock.lock();
    const isValid = yield* hmmRangeValid(range);
    hmmRangeDmaUnmap(range, iommu, addresses, isValid);
    yield* device.driverLock.unlock();
  }
  yield* mm.mmapLock.upRead();
  assert(pages >= 0 || [EBUSY, EAGAIN, EFAULT].includes(pages), `mapping answered ${pages}`);
}

function writable(harness: HmmHarness): Faulting {
  const device = HarnessDevice.registered(harness);
  const { valid, write } = DEFAULT_ENCODING.flags;
  return { device, range: registered(harness, device, valid | write) };
}

const dirty: Covered = covered(
  harnessScenario<Faulting>({
    name: "coverage/hmm/dirty",
    summary: "A page that a device has written by DMA is dirty afterwards.",
    harness: { pages: 1 },
    setup: writable,
    reopen: ({ range }) => void (range.notifierSeq = 1),
    tasks: {
      *map(world, harness) {
        yield* mapAndDirty(world, harness);
        assert((harness.entryOf(HARNESS_PAGE) & PTE_DIRTY) !== 0, "the entry is not dirty");
      },
    },
  }),
  { map: ["hmm/walk/dma.hmmRangeDmaUnmap", "hmm/walk/dma.hmmRangeDmaMap"] },
);

/** The view keeps the device out of the page, although it was opened before the device came. */
function* registerBesideView(device: HarnessDevice, harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  const hold = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true);
  assert(hold > 0, `the view answered ${hold}`);
  assert((yield* device.register()) === 0, "the device could not be registered");
  const range = yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(1) });
  if (typeof range === "number") throw new Error(`no range: ${range}`);
  assert(
    (yield* hmmRangeRegister(range, device.mirror, ADDRESS, ADDRESS + PAGE_BYTES)) === 0,
    "no range",
  );
  assert(!(yield* hmmRangeValid(range)), "a range is valid over pages of an open write view");
  yield* viewClose(machine, hold);
  assert(yield* hmmRangeWaitUntilValid(range, Infinity), "the range never becomes valid");
  requireCounts(harness, 0, 0, 1);
}

const besideView: Covered = covered(
  harnessScenario<HarnessDevice>({
    name: "coverage/hmm/device-after-view",
    summary:
      "A device is registered while a write view is open: it is kept out until the view is closed.",
    harness: { pages: 1 },
    setup: (harness) => new HarnessDevice(harness),
    tasks: { device: registerBesideView },
  }),
  {
    device: [
      "hmm/mirror/get-or-create.hmmGetOrCreate",
      "mm/view/view-hold.replayHolds",
      "mm/view/view-open.viewClose",
    ],
  },
);

/** Misuse throws, and changes nothing. */
function* mustThrow(what: string, begin: () => Task<unknown>): Task<void> {
  try {
    yield* begin();
  } catch {
    return;
  }
  throw new Error(`${what} does not throw`);
}

/** A range is registered, used, unregistered, and registered again; each misuse throws. */
function* rangeOfItsOwn({ mirror }: HarnessDevice, { machine, mm }: HmmHarness): Task<void> {
  const range = yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(1) });
  if (typeof range === "number") throw new Error(`no range: ${range}`);
  const register = (): Task<number> =>
    hmmRangeRegister(range, mirror, ADDRESS, ADDRESS + PAGE_BYTES);
  for (let round = 0; round < 2; round++) {
    yield* mustThrow("the recheck of a range that is not registered", () => hmmRangeValid(range));
    assert((yield* register()) === 0, "the range could not be registered");
    yield* mustThrow("registering twice", register);
    assert(yield* hmmRangeValid(range), "a fresh range is not valid");
    yield* mustThrow("unregistering a mirror with a range", () => hmmMirrorUnregister(mirror));
    assert(
      mm.users.read() === 2,
      `a range is registered, and the space has ${mm.users.read()} users`,
    );
    yield* hmmRangeUnregister(range);
    assert(
      mm.users.read() === 1,
      `no range is registered, and the space has ${mm.users.read()} users`,
    );
    yield* mustThrow("unregistering twice", () => hmmRangeUnregister(range));
  }
  yield* mustThrow("what throws with a range", () =>
    withHmmRange(range, mirror, ADDRESS, ADDRESS + PAGE_BYTES, () => {
      throw new Error("of its own");
    }),
  );
  assert(mm.users.read() === 1, "what threw with a range has kept the space");
  yield* hmmRangeFree(range);
}

/** All that a device does, and then the end of the space: nothing is left. */
function* wholeLife(device: HarnessDevice, harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  assert((yield* device.register()) === 0, "the device could not be registered");
  assert((yield* device.serve(HARNESS_PAGE, 1)) === 0, "the device was not served");
  assert(
    entryIsValid(device.entry(HARNESS_PAGE), DEFAULT_ENCODING),
    "the device has no translation",
  );
  assert(
    entryPfn(device.entry(HARNESS_PAGE), DEFAULT_ENCODING) ===
      ptePfn(harness.entryOf(HARNESS_PAGE)),
    "it has another page's",
  );
  yield* harness.discard(HARNESS_PAGE, 1);
  assert(device.entry(HARNESS_PAGE) === 0, "the device still has what was taken away");
  assert(
    (yield* device.serve(HARNESS_PAGE, 1, { write: true })) === 0,
    "the device was not served",
  );
  const written = harness.entryOf(HARNESS_PAGE) & (PTE_PRESENT | PTE_WRITE);
  assert(written === (PTE_PRESENT | PTE_WRITE), "the page cannot be written");
  assert((yield* device.serve(HARNESS_PAGE, 2)) === 0, "two mappings were not served");
  assert(
    entryIsValid(device.entry(HARNESS_PAGE + 1), DEFAULT_ENCODING),
    "the device has nothing of the second mapping",
  );
  yield* rangeOfItsOwn(device, harness);
  yield* device.unregister();
  yield* mustThrow("a second unregister", () => device.unregister());
  const { memory } = machine;
  assert(
    listedResources(memory, memory.record).length === 0,
    "the thread is still said to own something",
  );
  yield* mmput(machine, mm);
  yield* (yield* notifierSrcu(machine)).barrier();
  const left = machine.heap.accounting().filter(({ name }) => /^(hmm|mm|hmmRange|vma)$/.test(name));
  assert(
    left.length === 0,
    `left behind: ${left.map(({ name, live }) => `${live} ${name}`).join(", ")}`,
  );
  assert(machine.ram.usage().usedPages === 0, `${machine.ram.usage().usedPages} frames are left`);
}

const life: Covered = covered(
  harnessScenario<HarnessDevice>({
    name: "coverage/hmm/whole-life",
    summary:
      "A device is registered, served, notified, unregistered, and the space ends: each answer, each entry, nothing left.",
    harness: { pages: 1 },
    setup: (harness) => {
      harness.map(HARNESS_PAGE + 1, 1, VM_READ);
      return new HarnessDevice(harness);
    },
    tasks: { device: wholeLife },
  }),
  {
    device: [
      "hmm/mirror/mirror.hmmMirrorRegister",
      "hmm/mirror/hmm.hmmPut",
      "hmm/mirror/hmm.hmmFreeRcu",
      "mm/lifetime/mm.mmput",
    ],
  },
);

/** The last user and the last mirror go at once: the last of the two frees hmm and mm. */
const lastOfBoth: Covered = covered(
  harnessScenario<HarnessDevice>({
    name: "coverage/hmm/exit-vs-unregister",
    summary:
      "The last user and the last mirror go at once: hmm and mm are freed once, by the last of the two.",
    harness: { pages: 1 },
    exploration: BOUNDED,
    setup: (harness) => deviceOf(harness, SECOND),
    tasks: {
      *exit(_device, { machine, mm }) {
        yield* mmput(machine, mm);
        yield* (yield* notifierSrcu(machine)).barrier();
      },
      *unregister(device, { machine }) {
        yield* device.unregister();
        yield* (yield* notifierSrcu(machine)).barrier();
      },
    },
    check: (_device, { machine }) => {
      const left = machine.heap.accounting().filter(({ name }) => /^(hmm|mm|vma)$/.test(name));
      assert(
        left.length === 0,
        `left behind: ${left.map(({ name, live }) => `${live} ${name}`).join(", ")}`,
      );
    },
  }),
  {
    exit: ["mm/lifetime/mm.mmput", "hmm/mirror/invalidate.hmmRelease"],
    unregister: ["hmm/mirror/mirror.hmmMirrorUnregister", "hmm/mirror/hmm.hmmPut"],
  },
);

export const driverCalls: readonly Covered[] = [
  twoWait,
  faultVsMadvise,
  counting("refuse-vs-refuse", "reap", "reap", 2),
  counting("refuse-vs-error", "reap", "discard", 1),
  counting("error-vs-error", "discard", "discard", 0),
  statistics,
  countsVsMadvise,
  missing,
  dirty,
  besideView,
  life,
  lastOfBoth,
];

/**
 * @module What drivers ask and answer beside the pairs of pairs.ts: two wait for one range, a fault
 * that waits by itself, answers that are counted, pages that are marked dirty, names that are
 * looked up, a view that was open before the device came.
 */

import { RIG_PAGE, rigScenario } from "../../../../src/checker/rig/hmm-rig.ts";
import type { HmmRig } from "../../../../src/checker/rig/hmm-rig.ts";
import { RigDevice } from "../../../../src/checker/rig/rig-device.ts";
import type { AnyScenario, ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { hmmRangeDmaMap, hmmRangeDmaUnmap } from "../../../../src/hmm/dma.ts";
import { DEFAULT_ENCODING, entryIsValid, entryPfn } from "../../../../src/hmm/entry.ts";
import { hmmRangeFaultUnlockedTimeout } from "../../../../src/hmm/fault.ts";
import { Hmm } from "../../../../src/hmm/hmm-struct.ts";
import { missingMirrorOps, registerMirrorOps } from "../../../../src/hmm/mirror-ops.ts";
import { hmmMirrorUnregister } from "../../../../src/hmm/mirror.ts";
import {
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
  hmmRangeUnregister,
} from "../../../../src/hmm/range.ts";
import type { HmmRange } from "../../../../src/hmm/range.ts";
import { hmmStatistics } from "../../../../src/hmm/statistics.ts";
import { hmmRangeValid, hmmRangeWaitUntilValid } from "../../../../src/hmm/valid.ts";
import { mmput } from "../../../../src/mm/mm.ts";
import { PAGE_BYTES, PTE_DIRTY, PTE_PRESENT, PTE_WRITE, ptePfn } from "../../../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view-open.ts";
import { invalidateRange, zapNonBlocking } from "../../../../src/mm/zap.ts";
import { EVENT_CLEAR } from "../../../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  notifierSrcu,
} from "../../../../src/notifier/mmu-notifier.ts";
import { EAGAIN, EBUSY, EFAULT, EINVAL } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { listedResources } from "../../../../src/sync/resources.ts";
import type { Task } from "../../../../src/sync/task.ts";
import { deviceOf } from "../../patches/stage.ts";
import type { Covered } from "../covered.ts";

/** The second task's thread. */
const SECOND = 1;

const ADDRESS: number = RIG_PAGE * PAGE_BYTES;
const BOUNDED: ScenarioExploration = { engine: "bounded", preemptions: 2 };

function registered(
  rig: HmmRig,
  device: RigDevice,
  defaultFlags: number = DEFAULT_ENCODING.flags.valid,
): HmmRange {
  const made = rig.run(hmmRangeAlloc(rig.machine, { pfns: new Uint32Array(1), defaultFlags }));
  if (typeof made === "number") throw new Error(`no range: ${made}`);
  const errno = rig.run(hmmRangeRegister(made, device.mirror, ADDRESS, ADDRESS + PAGE_BYTES));
  assert(errno === 0, `registering answered ${errno}`);
  return made;
}

function covered(
  scenario: AnyScenario,
  runs: Readonly<Record<string, readonly string[]>>,
): Covered {
  return { layer: "hmm", scenario, twins: [], runs };
}

interface Waiting {
  readonly ranges: readonly HmmRange[];
}

/** An invalidation of the page is in flight from the set-up on. */
const twoWait: Covered = covered(
  rigScenario<Waiting>({
    name: "coverage/hmm/two-wait",
    summary:
      "Two threads wait until the page is valid again, each with a range of its own: its end wakes both.",
    rig: { pages: 1 },
    setup: (rig) => {
      const device = RigDevice.registered(rig);
      const ranges = [registered(rig, device), registered(rig, device)];
      const range = invalidateRange(rig.mm, RIG_PAGE, RIG_PAGE + 1, EVENT_CLEAR);
      rig.run(mmuNotifierInvalidateRangeStart(rig.machine, range));
      return { ranges };
    },
    tasks: {
      first: ({ ranges: [range] }) => waitFor(range),
      second: ({ ranges: [, range] }) => waitFor(range),
      end: (_world, rig) =>
        mmuNotifierInvalidateRangeEnd(
          rig.machine,
          invalidateRange(rig.mm, RIG_PAGE, RIG_PAGE + 1, EVENT_CLEAR),
        ),
    },
  }),
  {
    first: ["hmm/valid.hmmRangeWaitUntilValid"],
    second: ["hmm/valid.hmmRangeWaitUntilValid"],
    end: ["hmm/invalidate.hmmInvalidateRangeEnd"],
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
  readonly device: RigDevice;
  readonly range: HmmRange;
}

function faulting(rig: HmmRig): Faulting {
  const device = RigDevice.registered(rig);
  return { device, range: registered(rig, device) };
}

/** 0: for ever. */
function* faultForEver({ device, range }: Faulting): Task<void> {
  for (let round = 0; round < 3; round++) {
    const answer = yield* hmmRangeFaultUnlockedTimeout(range, 0);
    assert(answer === 1, `the fault answered ${answer}`);
    yield* device.driverLock.lock();
    const isValid = yield* hmmRangeValid(range);
    if (isValid) device.program(range);
    yield* device.driverLock.unlock();
    if (isValid) return;
  }
}

const faultVsMadvise: Covered = covered(
  rigScenario<Faulting>({
    name: "coverage/hmm/fault-unlocked-vs-madvise",
    summary:
      "A device's fault that takes the mmap lock itself and begins again while it is busy; the CPU discards the page.",
    rig: { pages: 1 },
    exploration: BOUNDED,
    setup: faulting,
    tasks: { fault: faultForEver, madvise: (_world, rig) => rig.discard(RIG_PAGE, 1) },
    reopen: ({ range }) => void (range.armed = 1),
    check: ({ device }) => device.requireCoherent(),
  }),
  {
    fault: ["hmm/fault.hmmRangeFaultUnlockedTimeout", "hmm/fault.hmmRangeFault"],
    madvise: ["mm/madvise.doMadvise"],
  },
);

/** Answers what it may not, and EAGAIN where it may. */
const AWKWARD_OPS: number = registerMirrorOps("awkward rig device", {
  *invalidate(_mirror, { blockable }) {
    return blockable ? EINVAL : EAGAIN;
  },
});

function* reap({ machine, mm }: HmmRig): Task<void> {
  yield* mm.mmapLock.downRead();
  const errno = yield* zapNonBlocking(machine, mm, RIG_PAGE, RIG_PAGE + 1);
  yield* mm.mmapLock.upRead();
  assert(errno === EAGAIN, `the reaper was answered ${errno}`);
}

function requireCounts(rig: HmmRig, refusals: number, mirrorErrors: number, starts: number): void {
  const hmm = Hmm.at(rig.machine.memory, rig.mm.hmm);
  const told = `${hmm.refusals}, ${hmm.mirrorErrors}, ${hmm.starts}, ${hmm.notifiers}, ${hmm.releasedWithRanges}`;
  assert(
    told === `${refusals}, ${mirrorErrors}, ${starts}, 0, 0`,
    `refusals, errors, starts, in flight, left: ${told}`,
  );
}

function counting(
  name: string,
  first: "reap" | "discard",
  second: "reap" | "discard",
  refusals: number,
): Covered {
  const bodies = {
    reap: (_device: RigDevice, rig: HmmRig) => reap(rig),
    discard: (_device: RigDevice, rig: HmmRig) => rig.discard(RIG_PAGE, 1),
  };
  const runs = ["hmm/invalidate.hmmInvalidateRangeStart"];
  return covered(
    rigScenario<RigDevice>({
      name: `coverage/hmm/${name}`,
      summary: "Refusals, and answers that no driver may give, are counted each.",
      rig: { pages: 1 },
      exploration: BOUNDED,
      mayRemain: [],
      setup: (rig) => RigDevice.registered(rig, AWKWARD_OPS),
      tasks: { first: bodies[first], second: bodies[second] },
      check: (_device, rig) => requireCounts(rig, refusals, 2 - refusals, 2),
    }),
    { first: runs, second: runs },
  );
}

/** Numbers are read while they change. */
const statistics: Covered = covered(
  rigScenario<RigDevice>({
    name: "coverage/hmm/statistics-vs-last-unregister",
    summary: "The numbers of an hmm are asked for while its last mirror goes, and the hmm with it.",
    rig: { pages: 1 },
    mayRemain: [],
    setup: (rig) => deviceOf(rig, SECOND),
    tasks: {
      *ask(_device, { machine, mm }) {
        const numbers = yield* hmmStatistics(machine, mm);
        if (numbers !== undefined)
          assert(numbers.ranges === 0 && numbers.notifiers === 0, "something is in flight");
      },
      unregister: (device) => device.unregister(),
    },
    check: (_device, rig) => assert(rig.mm.hmm === 0, "the space still names its hmm"),
  }),
  {
    ask: ["hmm/statistics.hmmStatistics"],
    unregister: ["hmm/mirror.hmmMirrorUnregister", "hmm/hmm.hmmPut"],
  },
);

const missing: Covered = covered(
  rigScenario<readonly RigDevice[]>({
    name: "coverage/hmm/missing-vs-mirrors",
    summary:
      "A thread asks whether it has the code of all drivers in use while one comes and another goes.",
    rig: { pages: 1 },
    setup: (rig) => [RigDevice.registered(rig), new RigDevice(rig, AWKWARD_OPS)],
    tasks: {
      *ask(_devices, { machine }) {
        const names = yield* missingMirrorOps(machine);
        assert(names.length === 0, `this thread lacks ${names.join(", ")}`);
      },
      *comeAndGo([, device], rig) {
        if (device === undefined) return;
        const errno = yield* device.register();
        assert(errno === 0, `registering answered ${errno}`);
        yield* device.unregister();
        assert((yield* missingMirrorOps(rig.machine)).length === 0, "this thread lacks something");
      },
    },
    exploration: BOUNDED,
  }),
  {
    ask: ["hmm/mirror-ops.missingMirrorOps"],
    comeAndGo: ["hmm/mirror-ops.useMirrorOps", "hmm/mirror-ops.dropMirrorOps"],
  },
);

/** Maps the page for writing by DMA, and says afterwards that it was written. */
function* mapAndDirty({ range, device }: Faulting, { mm }: HmmRig): Task<void> {
  const iommu = { mapPage: (pfn: number): number => pfn, unmapPage: (): void => {} };
  const addresses = new Float64Array(1);
  yield* mm.mmapLock.downRead();
  const pages = yield* hmmRangeDmaMap(range, iommu, addresses, true);
  if (pages > 0) {
    yield* device.driverLock.lock();
    const isValid = yield* hmmRangeValid(range);
    hmmRangeDmaUnmap(range, iommu, addresses, isValid);
    yield* device.driverLock.unlock();
  }
  yield* mm.mmapLock.upRead();
  assert(pages >= 0 || [EBUSY, EAGAIN, EFAULT].includes(pages), `mapping answered ${pages}`);
}

function writable(rig: HmmRig): Faulting {
  const device = RigDevice.registered(rig);
  const { valid, write } = DEFAULT_ENCODING.flags;
  return { device, range: registered(rig, device, valid | write) };
}

const dirty: Covered = covered(
  rigScenario<Faulting>({
    name: "coverage/hmm/dirty",
    summary: "A page that a device has written by DMA is dirty afterwards.",
    rig: { pages: 1 },
    setup: writable,
    reopen: ({ range }) => void (range.armed = 1),
    tasks: {
      *map(world, rig) {
        yield* mapAndDirty(world, rig);
        assert((rig.entryOf(RIG_PAGE) & PTE_DIRTY) !== 0, "the entry is not dirty");
      },
    },
  }),
  { map: ["hmm/dma.hmmRangeDmaUnmap", "hmm/dma.hmmRangeDmaMap"] },
);

/**
 * The view excludes the device from the page, although it was opened before anybody could be told.
 */
function* registerBesideView(device: RigDevice, rig: HmmRig): Task<void> {
  const { machine, mm } = rig;
  const hold = yield* viewOpen(machine, mm, RIG_PAGE, RIG_PAGE + 1, true);
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
  requireCounts(rig, 0, 0, 1);
}

const besideView: Covered = covered(
  rigScenario<RigDevice>({
    name: "coverage/hmm/device-after-view",
    summary:
      "A device comes to a space in which a write view is open: it is kept out until the view is closed.",
    rig: { pages: 1 },
    setup: (rig) => new RigDevice(rig),
    tasks: { device: registerBesideView },
  }),
  {
    device: [
      "hmm/get-or-create.hmmGetOrCreate",
      "mm/view-hold.replayHolds",
      "mm/view-open.viewClose",
    ],
  },
);

/** What the rules forbid is told, and changes nothing. */
function* mustThrow(what: string, begin: () => Task<unknown>): Task<void> {
  try {
    yield* begin();
  } catch {
    return;
  }
  throw new Error(`${what} is not told to be a mistake`);
}

/** A range is used, unregistered, of no use, registered again, and mistakes with it are told. */
function* rangeOfItsOwn({ mirror }: RigDevice, { machine, mm }: HmmRig): Task<void> {
  const range = yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(1) });
  if (typeof range === "number") throw new Error(`no range: ${range}`);
  const register = (): Task<number> =>
    hmmRangeRegister(range, mirror, ADDRESS, ADDRESS + PAGE_BYTES);
  for (let round = 0; round < 2; round++) {
    yield* mustThrow("asking a range that is not registered", () => hmmRangeValid(range));
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
  yield* hmmRangeFree(range);
}

/**
 * Everything that a device does in its life, and then the end of the space: nothing may be left.
 */
function* wholeLife(device: RigDevice, rig: HmmRig): Task<void> {
  const { machine, mm } = rig;
  assert((yield* device.register()) === 0, "the device could not be registered");
  assert((yield* device.serve(RIG_PAGE, 1)) === 0, "the device was not served");
  assert(entryIsValid(device.entry(RIG_PAGE), DEFAULT_ENCODING), "the device has no translation");
  assert(
    entryPfn(device.entry(RIG_PAGE), DEFAULT_ENCODING) === ptePfn(rig.entryOf(RIG_PAGE)),
    "it has another page's",
  );
  yield* rig.discard(RIG_PAGE, 1);
  assert(device.entry(RIG_PAGE) === 0, "the device still has what was taken away");
  assert((yield* device.serve(RIG_PAGE, 1, { write: true })) === 0, "the device was not served");
  const written = rig.entryOf(RIG_PAGE) & (PTE_PRESENT | PTE_WRITE);
  assert(written === (PTE_PRESENT | PTE_WRITE), "the page cannot be written");
  yield* rangeOfItsOwn(device, rig);
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
  rigScenario<RigDevice>({
    name: "coverage/hmm/whole-life",
    summary:
      "A device comes, is served, is told, goes, and the space ends: each answer and entry, and nothing is left.",
    rig: { pages: 1 },
    setup: (rig) => new RigDevice(rig),
    tasks: { device: wholeLife },
  }),
  {
    device: ["hmm/mirror.hmmMirrorRegister", "hmm/hmm.hmmPut", "hmm/hmm.hmmFreeRcu", "mm/mm.mmput"],
  },
);

/**
 * The space's last user goes while the mirror does: whoever is last frees the hmm, and the struct
 * of the space.
 */
const lastOfBoth: Covered = covered(
  rigScenario<RigDevice>({
    name: "coverage/hmm/exit-vs-unregister",
    summary:
      "The last user and the last mirror go at once: the hmm and the space's struct are freed once, by who is last.",
    rig: { pages: 1 },
    exploration: BOUNDED,
    setup: (rig) => deviceOf(rig, SECOND),
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
    exit: ["mm/mm.mmput", "hmm/invalidate.hmmRelease"],
    unregister: ["hmm/mirror.hmmMirrorUnregister", "hmm/hmm.hmmPut"],
  },
);

export const driverCalls: readonly Covered[] = [
  twoWait,
  faultVsMadvise,
  counting("refuse-vs-refuse", "reap", "reap", 2),
  counting("refuse-vs-error", "reap", "discard", 1),
  counting("error-vs-error", "discard", "discard", 0),
  statistics,
  missing,
  dirty,
  besideView,
  life,
  lastOfBoth,
];

/**
 * @module The thirteen defects that were left after the series of 2019, one by one, with the test
 * that each is fixed here.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_ENCODING } from "../../src/hmm/entry.ts";
import { hmmRangeFault } from "../../src/hmm/walk/fault.ts";
import { hmmRangeRegister, hmmRangeUnregister, withHmmRange } from "../../src/hmm/range/range.ts";
import { hmmRangeSnapshot } from "../../src/hmm/walk/snapshot.ts";
import { hmmStatistics } from "../../src/hmm/mirror/statistics.ts";
import { hmmRangeWaitUntilValid } from "../../src/hmm/range/valid.ts";
import { NEED_READ, needOf } from "../../src/hmm/walk/leaf.ts";
import { type Struct, type StructView, embed, struct } from "../../src/memory/layout/struct.ts";
import { MADV_DONTNEED, doMadvise } from "../../src/mm/calls/madvise.ts";
import { doMprotect } from "../../src/mm/calls/mprotect.ts";
import { KIND_MIGRATION, KIND_SWAP, PAGE_BYTES, makeNonPresent } from "../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../src/mm/view/view-open.ts";
import { VM_READ, VM_WRITE } from "../../src/mm/vma/vma.ts";
import { zapNonBlocking } from "../../src/mm/entries/zap.ts";
import {
  mmuNotifierRegister,
  mmuNotifierUnregister,
  registerNotifierOps,
} from "../../src/notifier/mmu-notifier.ts";
import { MmuNotifier } from "../../src/notifier/subscriptions.ts";
import { EAGAIN, EBUSY, EFAULT } from "../../src/sync/errno.ts";
import { type Task, access } from "../../src/sync/tasks/task.ts";
import { service } from "./driver-loop.ts";
import { Interleaver, forSeeds } from "./interleaver.ts";
import { FakeDevice, Harness, withMmapRead, withMmapWrite, isValidNow } from "./harness.ts";

const START = 16 * PAGE_BYTES;
const { flags, values } = DEFAULT_ENCODING;

function discard(harness: Harness, pages: number): Task<number> {
  return doMadvise(harness.machine, harness.mm, START, pages * PAGE_BYTES, MADV_DONTNEED);
}

function setUp(pages = 4): { harness: Harness; device: FakeDevice } {
  const harness = new Harness();
  harness.map(16, pages);
  harness.touch(16, pages);
  return { harness, device: FakeDevice.registered(harness) };
}

test("defect 1, ABA on valid: an invalidation that has run since the snapshot is noticed", () => {
  const { harness, device } = setUp();
  const range = harness.registered(device, 16, 2);
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(range)),
    2,
  );
  harness.must(discard(harness, 1));
  assert.equal(harness.run(hmmRangeWaitUntilValid(range, 1)), true, "nothing is running");
  assert.equal(isValidNow(range), false, "but something has run");
  harness.run(hmmRangeUnregister(range));
  harness.freeRange(range);
  device.close();
  harness.leave();
});

interface Refuser extends StructView {
  readonly node: MmuNotifier;
}
const Refuser: Struct<Refuser> = struct<Refuser>("refuser", {
  node: embed(MmuNotifier, "a notifier that always refuses"),
});

const REFUSER_OPS: number = registerNotifierOps("a notifier that refuses", {
  *invalidateRangeStart(machine, listener, range) {
    yield* access(machine.memory, "read", listener, 1, "the refuser thinks");
    return range.blockable ? 0 : EAGAIN;
  },
});

/** Another notifier on the harness's address space, in front of the others. */
function* addRefuser(harness: Harness, refuser: Refuser): Task<void> {
  yield* withMmapWrite(harness.mm, () =>
    mmuNotifierRegister(harness.machine, harness.mm.notifiers, refuser.node, REFUSER_OPS),
  );
}

test("defect 2, two notifiers and one refuses: the other's count is lowered, in either order of the two", () => {
  forSeeds(60, (seed) => {
    const harness = new Harness({ ramBytes: 2 ** 20, heapBytes: 2 ** 21 });
    harness.map(16, 2);
    harness.touch(16, 2);
    const refuser = Refuser.at(
      harness.machine.memory,
      harness.run(harness.machine.heap.alloc(Refuser)),
    );
    const comesFirst = seed % 2 === 0;
    if (!comesFirst) harness.run(addRefuser(harness, refuser));
    const device = FakeDevice.registered(harness);
    if (comesFirst) harness.run(addRefuser(harness, refuser));
    const inter = new Interleaver(harness.machine.memory, seed);
    inter.spawn(
      "reaps",
      withMmapRead(harness.mm, () => zapNonBlocking(harness.machine, harness.mm, 16, 18)),
    );
    inter.spawn(
      "takes the refuser off",
      mmuNotifierUnregister(harness.machine, harness.mm.notifiers, refuser.node),
    );
    inter.run();
    assert.equal(harness.run(hmmStatistics(harness.machine, harness.mm))?.notifiers, 0);
    harness.run(harness.machine.heap.free(Refuser, refuser.at));
    device.close();
    harness.leave();
  });
});

test("defect 3, a fault on an invalid range: EBUSY, and the caller still has the mmap lock", () => {
  const { harness, device } = setUp();
  const range = harness.registered(device, 16, 4, { defaultFlags: flags.valid });
  const hold = harness.run(viewOpen(harness.machine, harness.mm, 16, 17, true));
  assert.ok(hold > 0);
  const faults = (function* (): Task<number> {
    yield* harness.mm.mmapLock.downRead();
    const answer = yield* hmmRangeFault(range);
    harness.mm.mmapLock.assertHeld();
    yield* harness.mm.mmapLock.upRead();
    return answer;
  })();
  assert.equal(harness.run(faults), EBUSY);
  harness.run(viewClose(harness.machine, hold));
  harness.run(hmmRangeUnregister(range));
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("defect 4, a wait that times out: the range is unregistered, and does not keep the address space", () => {
  const { harness, device } = setUp();
  const range = harness.range({ pages: 4 });
  const hold = harness.run(viewOpen(harness.machine, harness.mm, 16, 17, true));
  const users = harness.mm.users.read();
  const answer = withHmmRange(range, device.mirror, START, START + 4 * PAGE_BYTES, function* () {
    return (yield* hmmRangeWaitUntilValid(range, 2)) ? 0 : EBUSY;
  });
  assert.equal(harness.run(answer), EBUSY);
  assert.deepEqual([range.isRegistered(), harness.mm.users.read()], [false, users]);
  harness.run(viewClose(harness.machine, hold));
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("defect 5, to unregister a mirror that was never registered throws", () => {
  const harness = new Harness();
  const device = new FakeDevice(harness);
  assert.throws(() => device.unregister(), /never registered; look at what register returns/);
  device.close();
  harness.leave();
});

test("defect 6, a range may drop the last user: not under the mmap lock, and not under the driver lock", () => {
  const { harness, device } = setUp();
  const range = harness.registered(device, 16, 4);
  assert.throws(
    () => harness.reading(() => hmmRangeUnregister(range)),
    /hmmRangeUnregister inside a read section/,
  );
  const underDriverLock = (function* (): Task<void> {
    yield* device.driver.driverLock.lock();
    try {
      yield* hmmRangeUnregister(range);
    } finally {
      yield* device.driver.driverLock.unlock();
    }
  })();
  assert.throws(
    () => harness.run(underDriverLock),
    /hmmRangeUnregister while holding driverLock.*release it first/,
  );
  harness.end();
  harness.run(hmmRangeUnregister(range));
  assert.deepEqual(
    device.calls.map(({ call }) => call),
    ["release"],
    "it was the last user, and nothing hung",
  );
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("defect 7, an address space without users cannot be walked: the way to it is a range, and register says EFAULT", () => {
  const { harness, device } = setUp();
  harness.end();
  const range = harness.range({ pages: 4, defaultFlags: flags.valid });
  const answer = withHmmRange(range, device.mirror, START, START + 4 * PAGE_BYTES, () =>
    service(device, range),
  );
  assert.equal(harness.run(answer), EFAULT);
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("defect 8, pages that are not present are faulted in if requested: the need is computed before it is tested", () => {
  for (const kind of [KIND_SWAP, KIND_MIGRATION] as const) {
    assert.equal(needOf(makeNonPresent(kind, 9), flags.valid, DEFAULT_ENCODING), NEED_READ);
  }
  // The one such kind that exists today, all the way: a page that was made inaccessible and
  // accessible again.
  const { harness, device } = setUp();
  harness.must(doMprotect(harness.machine, harness.mm, START, PAGE_BYTES, 0));
  harness.must(doMprotect(harness.machine, harness.mm, START, PAGE_BYTES, VM_READ | VM_WRITE));
  const range = harness.registered(device, 16, 4, { defaultFlags: flags.valid });
  assert.equal(
    harness.reading(() => hmmRangeFault(range)),
    4,
  );
  assert.notEqual((range.pfns[0] ?? 0) & flags.valid, 0);
  harness.run(hmmRangeUnregister(range));
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("defect 9, an invalidation that ends where a range begins leaves it alone", () => {
  const { harness, device } = setUp();
  const range = harness.registered(device, 18, 2);
  harness.must(discard(harness, 2));
  assert.equal(isValidNow(range), true);
  harness.run(hmmRangeUnregister(range));
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("defect 10, a retry requests what the driver requested, not what came back", () => {
  const { harness, device } = setUp(2);
  const request = Uint32Array.of(flags.valid | flags.write, flags.valid);
  const range = harness.registered(device, 16, 4, {
    request: Uint32Array.of(...request, ...request),
    pfnFlagsMask: 0xff,
  });
  assert.equal(
    harness.reading(() => hmmRangeFault(range)),
    EFAULT,
    "the second half is not mapped yet",
  );
  assert.deepEqual(Array.from(range.pfns.subarray(2)), [values.error, values.none]);
  harness.map(18, 2);
  assert.equal(
    harness.reading(() => hmmRangeFault(range)),
    4,
  );
  assert.deepEqual(
    Array.from(range.pfns.slice(2), (entry) => entry & 3),
    [3, 1],
  );
  assert.deepEqual([...(range.request ?? [])], [3, 1, 3, 1]);
  harness.run(hmmRangeUnregister(range));
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("defect 11, the driver lock held into an invalidation: lockdep reports it before any deadlock", () => {
  const { harness, device } = setUp();
  const wrong = (function* (): Task<void> {
    yield* device.driver.driverLock.lock();
    try {
      yield* discard(harness, 1);
    } finally {
      yield* device.driver.driverLock.unlock();
    }
  })();
  assert.throws(
    () => harness.run(wrong),
    /mmapLock is taken while driverLock is held: the lock order does not allow it/,
  );
  device.close();
  harness.leave();
});

test("defect 12, the mark of the page that failed survives the clearing of what follows", () => {
  const { harness, device } = setUp(2);
  const range = harness.registered(device, 16, 4, { defaultFlags: flags.valid });
  range.pfns.fill(0xffff_ffff);
  assert.equal(
    harness.reading(() => hmmRangeFault(range)),
    EFAULT,
  );
  assert.deepEqual(Array.from(range.pfns.subarray(2)), [values.error, values.none]);
  harness.run(hmmRangeUnregister(range));
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("defect 13, a driver that ignores a failed register gets an error at the first use", () => {
  const { harness, device } = setUp();
  const range = harness.range({ pages: 4 });
  harness.run(hmmRangeRegister(range, device.mirror, START + 1, START + PAGE_BYTES));
  assert.throws(
    () => harness.run(hmmRangeWaitUntilValid(range, 1)),
    /it is not registered; register it, and look at what register returns/,
  );
  harness.freeRange(range);
  device.close();
  harness.leave();
});

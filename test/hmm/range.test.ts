/**
 * @module Ranges: what register accepts, what register and unregister do, and the error of every
 * use of an unregistered range.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { hmmRangeDmaMap, hmmRangeDmaUnmap } from "../../src/hmm/walk/dma.ts";
import { DEFAULT_ENCODING } from "../../src/hmm/entry.ts";
import { hmmRangeFault, hmmRangeFaultUnlockedTimeout } from "../../src/hmm/walk/fault.ts";
import {
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
  hmmRangeUnregister,
  withHmmRange,
} from "../../src/hmm/range/range.ts";
import { hmmRangeSnapshot } from "../../src/hmm/walk/snapshot.ts";
import { hmmStatistics } from "../../src/hmm/mirror/statistics.ts";
import { hmmRangeWaitUntilValid } from "../../src/hmm/range/valid.ts";
import { PAGE_BYTES } from "../../src/mm/pte.ts";
import { EFAULT, EINVAL, EMFILE } from "../../src/sync/errno.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { FakeDevice, Harness, mustHave, isValidNow } from "./harness.ts";

const START = 16 * PAGE_BYTES;

test("hmmRangeRegister takes what fits and refuses the rest with EINVAL", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  const range = harness.range({ pages: 8 });
  const cases: readonly (readonly [string, number, number, number | undefined, number])[] = [
    ["one page", START, START + PAGE_BYTES, undefined, 0],
    ["as many as pfns has entries", START, START + 8 * PAGE_BYTES, undefined, 0],
    [
      "the last pages of the address range",
      (2 ** 32 - 520) * PAGE_BYTES,
      (2 ** 32 - 512) * PAGE_BYTES,
      undefined,
      0,
    ],
    ["more than pfns has entries", START, START + 9 * PAGE_BYTES, undefined, EINVAL],
    ["empty", START, START, undefined, EINVAL],
    ["backwards", START + PAGE_BYTES, START, undefined, EINVAL],
    ["unaligned start", START + 1, START + PAGE_BYTES, undefined, EINVAL],
    ["unaligned end", START, START + PAGE_BYTES + 1, undefined, EINVAL],
    ["negative", -PAGE_BYTES, START, undefined, EINVAL],
    ["NaN start", Number.NaN, START, undefined, EINVAL],
    ["NaN end", START, Number.NaN, undefined, EINVAL],
    ["infinite", START, Infinity, undefined, EINVAL],
    ["past 16 TiB", 2 ** 44 - PAGE_BYTES, 2 ** 44, undefined, EINVAL],
    ["a page shift below 12", START, START + PAGE_BYTES, 11, EINVAL],
    ["a page shift above 21", START, START + PAGE_BYTES, 22, EINVAL],
    ["half a page shift", START, START + PAGE_BYTES, 12.5, EINVAL],
    ["8 KiB device pages, aligned", START, START + 2 * PAGE_BYTES, 13, 0],
    ["8 KiB device pages, unaligned start", START + PAGE_BYTES, START + 4 * PAGE_BYTES, 13, EINVAL],
    ["8 KiB device pages, unaligned end", START, START + 3 * PAGE_BYTES, 13, EINVAL],
  ];
  for (const [name, start, end, shift, expected] of cases) {
    assert.equal(
      harness.run(hmmRangeRegister(range, device.mirror, start, end, shift)),
      expected,
      name,
    );
    assert.equal(range.isRegistered(), expected === 0, name);
    if (expected === 0) harness.run(hmmRangeUnregister(range));
  }
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("hmmRangeRegister refuses a request array that is too short, and a mirror of another machine", () => {
  const harness = new Harness();
  const other = new Harness();
  const device = FakeDevice.registered(harness);
  const foreign = FakeDevice.registered(other);
  const range = harness.range({ pages: 8, request: new Uint32Array(4) });
  assert.equal(
    harness.run(hmmRangeRegister(range, device.mirror, START, START + 8 * PAGE_BYTES)),
    EINVAL,
  );
  assert.equal(
    harness.run(hmmRangeRegister(range, foreign.mirror, START, START + PAGE_BYTES)),
    EINVAL,
  );
  assert.equal(harness.run(hmmStatistics(harness.machine, harness.mm))?.ranges, 0);
  harness.freeRange(range);
  device.close();
  foreign.close();
  harness.leave();
  other.leave();
});

test("a range holds the address space and the hmm, and drops both", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  const usersBefore = harness.mm.users.read();
  const range = harness.registered(device, 16, 4);
  assert.equal(harness.mm.users.read(), usersBefore + 1);
  assert.equal(harness.run(hmmStatistics(harness.machine, harness.mm))?.ranges, 1);
  harness.run(hmmRangeUnregister(range));
  assert.equal(harness.mm.users.read(), usersBefore);
  assert.equal(harness.run(hmmStatistics(harness.machine, harness.mm))?.ranges, 0);
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("a range outlives the user who made it: its unregister runs the exit", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  harness.map(16, 4);
  harness.touch(16, 4);
  const range = harness.registered(device, 16, 4);
  harness.end();
  assert.deepEqual(device.calls, [], "release must wait for the range");
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(range)),
    4,
  );
  harness.run(hmmRangeUnregister(range));
  assert.deepEqual(
    device.calls.map(({ call }) => call),
    ["release"],
  );
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("hmmRangeRegister on a dead address space is EFAULT, and later uses of the range throw", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  harness.end();
  const range = harness.range();
  assert.equal(
    harness.run(hmmRangeRegister(range, device.mirror, START, START + PAGE_BYTES)),
    EFAULT,
  );
  assert.throws(
    () => harness.run(hmmRangeWaitUntilValid(range, 1)),
    /not registered.*look at what register returns/,
  );
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("every use of a range before register and after unregister names the range", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  const range = harness.range({ pages: 4 });
  const dma = { mapPage: (pfn: number): number => pfn, unmapPage: (): void => undefined };
  const addresses = new Float64Array(4);
  const uses: Readonly<Record<string, () => unknown>> = {
    valid: () => isValidNow(range),
    wait: () => harness.run(hmmRangeWaitUntilValid(range, 1)),
    snapshot: () => harness.reading(() => hmmRangeSnapshot(range)),
    fault: () => harness.reading(() => hmmRangeFault(range)),
    "unlocked fault": () => harness.run(hmmRangeFaultUnlockedTimeout(range, 1)),
    "dma map": () => harness.reading(() => hmmRangeDmaMap(range, dma, addresses)),
    "dma unmap": () => hmmRangeDmaUnmap(range, dma, addresses, false),
    unregister: () => harness.run(hmmRangeUnregister(range)),
  };
  for (const [name, use] of Object.entries(uses)) {
    assert.throws(use, /AssertionFailure: Cannot .*hmm range at 0x.*it is not registered/, name);
  }
  harness.must(hmmRangeRegister(range, device.mirror, START, START + 4 * PAGE_BYTES));
  harness.run(hmmRangeUnregister(range));
  for (const [name, use] of Object.entries(uses)) {
    assert.throws(
      use,
      /AssertionFailure: Cannot .*hmm range at 0x.* over pages 0x10 to 0x14: it was unregistered/,
      name,
    );
  }
  assert.deepEqual([range.startPage, range.endPage], [16, 20], "start and end stay readable");
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("registering a range twice and freeing a registered one are assertions; registering it again after unregister is not", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  const range = harness.registered(device, 16, 4);
  assert.throws(
    () => harness.run(hmmRangeRegister(range, device.mirror, START, START + PAGE_BYTES)),
    /it is registered/,
  );
  assert.throws(() => harness.run(hmmRangeFree(range)), /it is registered; unregister it first/);
  harness.run(hmmRangeUnregister(range));
  harness.must(hmmRangeRegister(range, device.mirror, START, START + PAGE_BYTES));
  assert.equal(isValidNow(range), true);
  harness.run(hmmRangeUnregister(range));
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("a range on a mirror that is not registered is an assertion", () => {
  const harness = new Harness();
  const device = new FakeDevice(harness);
  const range = harness.range();
  const register = (): unknown =>
    harness.run(hmmRangeRegister(range, device.mirror, START, START + PAGE_BYTES));
  assert.throws(register, /the mirror is not registered/);
  assert.equal(device.tryRegister(), 0);
  device.unregister();
  assert.throws(register, /the mirror is not registered/);
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("hmmRangeUnregister under the mmap lock is an assertion, since it may run the exit", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  const range = harness.registered(device, 16, 4);
  assert.throws(
    () => harness.reading(() => hmmRangeUnregister(range)),
    /hmmRangeUnregister inside a read section or holding a lock for reading.*takes the address space down/,
  );
  assert.equal(range.isRegistered(), true, "nothing has been undone");
  harness.run(hmmRangeUnregister(range));
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("withHmmRange unregisters on return, on an errno and on a throw", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  const range = harness.range();
  const end = START + PAGE_BYTES;
  const users = harness.mm.users.read();
  function* good(): Task<number> {
    assert.equal(isValidNow(range), true);
    return 7;
  }
  function* bad(): Task<number> {
    throw new RangeError("the driver's own");
  }
  assert.equal(harness.run(withHmmRange(range, device.mirror, START, end, good)), 7);
  assert.throws(
    () => harness.run(withHmmRange(range, device.mirror, START, end, bad)),
    /the driver's own/,
  );
  assert.equal(harness.run(withHmmRange(range, device.mirror, end, START, bad)), EINVAL);
  assert.equal(harness.mm.users.read(), users);
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("a thread that owns as many things as it may gets EMFILE for its next range", () => {
  const harness = new Harness();
  const ranges = [];
  for (;;) {
    const range = harness.run(hmmRangeAlloc(harness.machine, { pfns: new Uint32Array(1) }));
    if (typeof range === "number") {
      assert.equal(range, EMFILE);
      break;
    }
    ranges.push(range);
    assert.ok(ranges.length < 10_000, "the list of what a thread owns has an end");
  }
  for (const range of ranges) harness.freeRange(range);
  const again = mustHave(harness.run(hmmRangeAlloc(harness.machine, { pfns: new Uint32Array(1) })));
  harness.freeRange(again);
  harness.leave();
});

test("an ambiguous encoding is refused", () => {
  const harness = new Harness();
  const { flags, values } = DEFAULT_ENCODING;
  const bad = {
    "a flag inside the frame number": { ...DEFAULT_ENCODING, flags: { ...flags, write: 0x100 } },
    "no valid bit": { ...DEFAULT_ENCODING, flags: { ...flags, valid: 0 } },
    "one bit for two flags": { ...DEFAULT_ENCODING, flags: { ...flags, write: flags.valid } },
    "an error that reads as a page": {
      ...DEFAULT_ENCODING,
      values: { ...values, error: flags.valid },
    },
    "nothing and error alike": { ...DEFAULT_ENCODING, values: { ...values, error: values.none } },
    "a shift that loses bits": { ...DEFAULT_ENCODING, pfnShift: 9 },
  };
  for (const [name, encoding] of Object.entries(bad)) {
    assert.throws(
      () => harness.run(hmmRangeAlloc(harness.machine, { pfns: new Uint32Array(1), encoding })),
      /Cannot use/,
      name,
    );
  }
  harness.leave();
});

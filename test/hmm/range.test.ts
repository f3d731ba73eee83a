/**
 * @module Ranges: what register accepts, what the two ends of a range's life do, and what every use
 * outside of it is told.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { hmmRangeDmaMap, hmmRangeDmaUnmap } from "../../src/hmm/dma.ts";
import { DEFAULT_ENCODING } from "../../src/hmm/entry.ts";
import { hmmRangeFault, hmmRangeFaultUnlockedTimeout } from "../../src/hmm/fault.ts";
import {
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
  hmmRangeUnregister,
  withHmmRange,
} from "../../src/hmm/range.ts";
import { hmmRangeSnapshot } from "../../src/hmm/snapshot.ts";
import { hmmStatistics } from "../../src/hmm/statistics.ts";
import { hmmRangeWaitUntilValid } from "../../src/hmm/valid.ts";
import { PAGE_BYTES } from "../../src/mm/pte.ts";
import { EFAULT, EINVAL, EMFILE } from "../../src/sync/errno.ts";
import type { Task } from "../../src/sync/task.ts";
import { FakeDevice, Rig, mustHave, isValidNow } from "./rig.ts";

const START = 16 * PAGE_BYTES;

test("hmmRangeRegister takes what fits and refuses the rest with EINVAL", () => {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  const range = rig.range({ pages: 8 });
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
      rig.run(hmmRangeRegister(range, device.mirror, start, end, shift)),
      expected,
      name,
    );
    assert.equal(range.isRegistered(), expected === 0, name);
    if (expected === 0) rig.run(hmmRangeUnregister(range));
  }
  rig.freeRange(range);
  device.close();
  rig.leave();
});

test("hmmRangeRegister refuses a request array that is too short, and a mirror of another machine", () => {
  const rig = new Rig();
  const other = new Rig();
  const device = FakeDevice.registered(rig);
  const foreign = FakeDevice.registered(other);
  const range = rig.range({ pages: 8, request: new Uint32Array(4) });
  assert.equal(
    rig.run(hmmRangeRegister(range, device.mirror, START, START + 8 * PAGE_BYTES)),
    EINVAL,
  );
  assert.equal(rig.run(hmmRangeRegister(range, foreign.mirror, START, START + PAGE_BYTES)), EINVAL);
  assert.equal(rig.run(hmmStatistics(rig.machine, rig.mm))?.ranges, 0);
  rig.freeRange(range);
  device.close();
  foreign.close();
  rig.leave();
  other.leave();
});

test("a range keeps the address space and the hmm, and gives both back", () => {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  const usersBefore = rig.mm.users.read();
  const range = rig.registered(device, 16, 4);
  assert.equal(rig.mm.users.read(), usersBefore + 1);
  assert.equal(rig.run(hmmStatistics(rig.machine, rig.mm))?.ranges, 1);
  rig.run(hmmRangeUnregister(range));
  assert.equal(rig.mm.users.read(), usersBefore);
  assert.equal(rig.run(hmmStatistics(rig.machine, rig.mm))?.ranges, 0);
  rig.freeRange(range);
  device.close();
  rig.leave();
});

test("a range outlives the user who made it: its unregister runs the exit", () => {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  rig.map(16, 4);
  rig.touch(16, 4);
  const range = rig.registered(device, 16, 4);
  rig.end();
  assert.deepEqual(device.heard, [], "release must wait for the range");
  assert.equal(
    rig.reading(() => hmmRangeSnapshot(range)),
    4,
  );
  rig.run(hmmRangeUnregister(range));
  assert.deepEqual(
    device.heard.map(({ call }) => call),
    ["release"],
  );
  rig.freeRange(range);
  device.close();
  rig.leave();
});

test("hmmRangeRegister on a dead address space is EFAULT, and the range says so when used all the same", () => {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  rig.end();
  const range = rig.range();
  assert.equal(rig.run(hmmRangeRegister(range, device.mirror, START, START + PAGE_BYTES)), EFAULT);
  assert.throws(
    () => rig.run(hmmRangeWaitUntilValid(range, 1)),
    /not registered.*look at what register returns/,
  );
  rig.freeRange(range);
  device.close();
  rig.leave();
});

test("every use of a range before register and after unregister names the range", () => {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  const range = rig.range({ pages: 4 });
  const dma = { mapPage: (pfn: number): number => pfn, unmapPage: (): void => undefined };
  const addresses = new Float64Array(4);
  const uses: Readonly<Record<string, () => unknown>> = {
    valid: () => isValidNow(range),
    wait: () => rig.run(hmmRangeWaitUntilValid(range, 1)),
    snapshot: () => rig.reading(() => hmmRangeSnapshot(range)),
    fault: () => rig.reading(() => hmmRangeFault(range, true)),
    "unlocked fault": () => rig.run(hmmRangeFaultUnlockedTimeout(range, 1)),
    "dma map": () => rig.reading(() => hmmRangeDmaMap(range, dma, addresses, true)),
    "dma unmap": () => hmmRangeDmaUnmap(range, dma, addresses, false),
    unregister: () => rig.run(hmmRangeUnregister(range)),
  };
  for (const [name, use] of Object.entries(uses)) {
    assert.throws(use, /AssertionFailure: Cannot .*hmm range at 0x.*it is not registered/, name);
  }
  rig.must(hmmRangeRegister(range, device.mirror, START, START + 4 * PAGE_BYTES));
  rig.run(hmmRangeUnregister(range));
  for (const [name, use] of Object.entries(uses)) {
    assert.throws(
      use,
      /AssertionFailure: Cannot .*hmm range at 0x.* over pages 0x10 to 0x14: it was unregistered/,
      name,
    );
  }
  assert.deepEqual([range.startPage, range.endPage], [16, 20], "start and end stay readable");
  rig.freeRange(range);
  device.close();
  rig.leave();
});

test("registering a range twice and freeing a registered one are assertions; registering it again after unregister is not", () => {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  const range = rig.registered(device, 16, 4);
  assert.throws(
    () => rig.run(hmmRangeRegister(range, device.mirror, START, START + PAGE_BYTES)),
    /it is registered/,
  );
  assert.throws(() => rig.run(hmmRangeFree(range)), /it is registered; unregister it first/);
  rig.run(hmmRangeUnregister(range));
  rig.must(hmmRangeRegister(range, device.mirror, START, START + PAGE_BYTES));
  assert.equal(isValidNow(range), true);
  rig.run(hmmRangeUnregister(range));
  rig.freeRange(range);
  device.close();
  rig.leave();
});

test("a range on a mirror that is not registered is an assertion", () => {
  const rig = new Rig();
  const device = new FakeDevice(rig);
  const range = rig.range();
  const register = (): unknown =>
    rig.run(hmmRangeRegister(range, device.mirror, START, START + PAGE_BYTES));
  assert.throws(register, /the mirror is not registered/);
  assert.equal(device.tryRegister(), 0);
  device.unregister();
  assert.throws(register, /the mirror is not registered/);
  rig.freeRange(range);
  device.close();
  rig.leave();
});

test("hmmRangeUnregister under the mmap lock is an assertion, since it may run the exit", () => {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  const range = rig.registered(device, 16, 4);
  assert.throws(
    () => rig.reading(() => hmmRangeUnregister(range)),
    /hmmRangeUnregister inside a read section or holding a lock for reading.*takes the address space down/,
  );
  assert.equal(range.isRegistered(), true, "nothing has been undone");
  rig.run(hmmRangeUnregister(range));
  rig.freeRange(range);
  device.close();
  rig.leave();
});

test("withHmmRange unregisters on return, on an errno and on a throw", () => {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  const range = rig.range();
  const end = START + PAGE_BYTES;
  const users = rig.mm.users.read();
  function* good(): Task<number> {
    assert.equal(isValidNow(range), true);
    return 7;
  }
  function* bad(): Task<number> {
    throw new RangeError("the driver's own");
  }
  assert.equal(rig.run(withHmmRange(range, device.mirror, START, end, good)), 7);
  assert.throws(
    () => rig.run(withHmmRange(range, device.mirror, START, end, bad)),
    /the driver's own/,
  );
  assert.equal(rig.run(withHmmRange(range, device.mirror, end, START, bad)), EINVAL);
  assert.equal(rig.mm.users.read(), users);
  rig.freeRange(range);
  device.close();
  rig.leave();
});

test("a thread that owns too much gets EMFILE for its next range and loses nothing", () => {
  const rig = new Rig();
  const ranges = [];
  for (;;) {
    const range = rig.run(hmmRangeAlloc(rig.machine, { pfns: new Uint32Array(1) }));
    if (typeof range === "number") {
      assert.equal(range, EMFILE);
      break;
    }
    ranges.push(range);
    assert.ok(ranges.length < 10_000, "the list of what a thread owns has an end");
  }
  for (const range of ranges) rig.freeRange(range);
  const again = mustHave(rig.run(hmmRangeAlloc(rig.machine, { pfns: new Uint32Array(1) })));
  rig.freeRange(again);
  rig.leave();
});

test("an encoding that contradicts itself is refused", () => {
  const rig = new Rig();
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
      () => rig.run(hmmRangeAlloc(rig.machine, { pfns: new Uint32Array(1), encoding })),
      /Cannot use/,
      name,
    );
  }
  rig.leave();
});

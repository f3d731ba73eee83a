/** @module Ranges of a device with pages of 2 MiB or 64 KiB, over huge pages and small ones. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_ENCODING, entryIsWritable, entryPfn } from "../../src/hmm/entry.ts";
import {
  type HmmRange,
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
  hmmRangeUnregister,
} from "../../src/hmm/range/range.ts";
import { hmmRangeFault } from "../../src/hmm/walk/fault.ts";
import { hmmRangeSnapshot } from "../../src/hmm/walk/snapshot.ts";
import { MADV_DONTNEED, MADV_HUGEPAGE, doMadvise } from "../../src/mm/calls/madvise.ts";
import { PAGE_BYTES } from "../../src/mm/pte.ts";
import { EINVAL } from "../../src/sync/errno.ts";
import { FakeDevice, Harness, mustHave } from "./harness.ts";

const BLOCK = 512;
const START: number = BLOCK * PAGE_BYTES;
const END: number = 3 * BLOCK * PAGE_BYTES;
const { flags } = DEFAULT_ENCODING;
const HUGE = flags.huge ?? 0;

/** Two times 2 MiB, where huge pages are wanted, and a range over them. */
function setUp(pageShift: number, use: (harness: Harness, range: HmmRange) => void): void {
  const harness = new Harness({ ramBytes: 16 * 2 ** 20 });
  const { machine, mm } = harness;
  const device = FakeDevice.registered(harness);
  harness.map(BLOCK, 2 * BLOCK);
  harness.must(doMadvise(machine, mm, START, END - START, MADV_HUGEPAGE));
  const options = { pfns: new Uint32Array((END - START) / 2 ** pageShift) };
  const range = mustHave(harness.run(hmmRangeAlloc(machine, options)));
  harness.must(hmmRangeRegister(range, device.mirror, START, END, pageShift));
  use(harness, range);
  harness.run(hmmRangeUnregister(range));
  harness.run(hmmRangeFree(range));
  device.close();
  harness.leave();
}

test("one element for each 2 MiB: nothing at first, then frames in a row, written or not", () => {
  setUp(21, (harness, range) => {
    assert.equal(
      harness.reading(() => hmmRangeSnapshot(range)),
      2,
    );
    assert.deepEqual([...range.pfns], [0, 0], "nothing is touched");
    harness.touch(BLOCK, 1, false);
    assert.equal(
      harness.reading(() => hmmRangeSnapshot(range)),
      2,
    );
    assert.deepEqual([...range.pfns], [0, 0], "zeros have no frames in a row");
    range.defaultFlags = flags.valid;
    assert.equal(
      harness.reading(() => hmmRangeFault(range)),
      2,
    );
    range.defaultFlags = flags.valid | flags.write;
    assert.equal(
      harness.reading(() => hmmRangeFault(range)),
      2,
    );
    for (const [i, entry] of range.pfns.entries()) {
      assert.equal(entryPfn(entry, DEFAULT_ENCODING) % BLOCK, 0, `page ${i}`);
      assert.ok(entryIsWritable(entry, DEFAULT_ENCODING));
      assert.equal(entry & HUGE, HUGE);
    }
  });
});

test("pages of 64 KiB lie in a huge page, each at its place", () => {
  setUp(16, (harness, range) => {
    range.defaultFlags = flags.valid | flags.write;
    assert.equal(
      harness.reading(() => hmmRangeFault(range)),
      64,
    );
    const first = entryPfn(range.pfns[0]!, DEFAULT_ENCODING);
    const pfns = Array.from(range.pfns.subarray(0, 32), (entry) =>
      entryPfn(entry, DEFAULT_ENCODING),
    );
    assert.deepEqual(
      pfns,
      Array.from({ length: 32 }, (_, i) => first + 16 * i),
    );
  });
});

test("where a huge page has been split, larger pages of a device are EINVAL", () => {
  setUp(21, (harness, range) => {
    range.defaultFlags = flags.valid | flags.write;
    assert.equal(
      harness.reading(() => hmmRangeFault(range)),
      2,
    );
    const { machine, mm } = harness;
    harness.must(doMadvise(machine, mm, START + PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED));
    assert.equal(
      harness.reading(() => hmmRangeSnapshot(range)),
      EINVAL,
    );
    assert.equal(
      harness.reading(() => hmmRangeFault(range)),
      EINVAL,
    );
    assert.equal(range.pfns[0], DEFAULT_ENCODING.values.none);
  });
});

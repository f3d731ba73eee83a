/** @module Ranges of a device with pages of 2 MiB or 64 KiB, over huge pages and small ones. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_ENCODING, entryIsWritable, entryPfn } from "../../src/hmm/entry.ts";
import {
  type HmmRange,
  type HmmRangeOptions,
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
  hmmRangeUnregister,
} from "../../src/hmm/range/range.ts";
import { hmmRangeFault } from "../../src/hmm/walk/fault.ts";
import { hmmRangeSnapshot } from "../../src/hmm/walk/snapshot.ts";
import { MADV_DONTNEED, MADV_HUGEPAGE, doMadvise } from "../../src/mm/calls/madvise.ts";
import { doMprotect } from "../../src/mm/calls/mprotect.ts";
import { PAGE_BYTES } from "../../src/mm/pte.ts";
import { VM_READ } from "../../src/mm/vma/vma.ts";
import { MID_SPAN_PAGES } from "../../src/mmu/radix-table.ts";
import { EINVAL } from "../../src/sync/errno.ts";
import { diceOf } from "../dice.ts";
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

const KINDS = ["untouched", "zeros", "written", "written", "read-only"] as const;

/** Touches each block of 2 MiB as a kind says. */
function fillBlocks(harness: Harness, first: number, kinds: readonly string[]): void {
  const { machine, mm } = harness;
  for (const [i, kind] of kinds.entries()) {
    const page = first + i * BLOCK;
    if (kind === "zeros") harness.touch(page, 1, false);
    if (kind === "written" || kind === "read-only") harness.touch(page, 1);
    if (kind === "read-only")
      harness.must(doMprotect(machine, mm, page * PAGE_BYTES, BLOCK * PAGE_BYTES, VM_READ));
  }
}

test("a row of huge pages that are asked for alike is read as one by one, also across two tables", () => {
  for (let seed = 1; seed <= 30; seed++) {
    const dice = diceOf(seed);
    const harness = new Harness({ ramBytes: 32 * 2 ** 20 });
    const { machine, mm } = harness;
    const device = FakeDevice.registered(harness);
    const first = MID_SPAN_PAGES - 4 * BLOCK;
    const kinds = Array.from({ length: 8 }, () => KINDS[dice(KINDS.length)]!);
    const [start, end] = [first * PAGE_BYTES, (first + 8 * BLOCK) * PAGE_BYTES];
    harness.map(first, 8 * BLOCK);
    harness.must(doMadvise(machine, mm, start, end - start, MADV_HUGEPAGE));
    fillBlocks(harness, first, kinds);
    const open = (options: Partial<HmmRangeOptions>): HmmRange => {
      const range = harness.range({ pages: 8, ...options });
      harness.must(hmmRangeRegister(range, device.mirror, start, end, 21));
      return range;
    };
    const alike = open({});
    const apart = open({ request: new Uint32Array(8), pfnFlagsMask: flags.valid | flags.write });
    const compare = (what: string, wanted: number): void => {
      alike.defaultFlags = wanted;
      apart.request?.fill(wanted);
      const [ofAlike, ofApart] = [alike, apart].map((range) =>
        harness.reading(() => hmmRangeFault(range)),
      );
      assert.equal(ofAlike, ofApart, `${what}, seed ${seed}: ${kinds.join()}`);
      assert.deepEqual(alike.pfns, apart.pfns, `${what}, seed ${seed}: ${kinds.join()}`);
    };
    compare("nothing is asked", 0);
    compare("to read", flags.valid);
    compare("to write", flags.valid | flags.write);
    for (const range of [alike, apart]) {
      harness.run(hmmRangeUnregister(range));
      harness.freeRange(range);
    }
    device.close();
    harness.leave();
  }
});

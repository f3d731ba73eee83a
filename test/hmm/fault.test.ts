/**
 * @module hmmRangeFault and its normal entry: what is made present, every answer, and what is left
 * in pfns.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_ENCODING } from "../../src/hmm/entry.ts";
import { hmmRangeFault, hmmRangeFaultUnlockedTimeout } from "../../src/hmm/walk/fault.ts";
import {
  HOLES_FAIL,
  HOLES_MARK,
  type HmmRange,
  type HmmRangeOptions,
  hmmRangeUnregister,
} from "../../src/hmm/range/range.ts";
import { FAULTS_OF_PAGE_MAX } from "../../src/hmm/walk/page-walk.ts";
import { MADV_HUGEPAGE, doMadvise } from "../../src/mm/calls/madvise.ts";
import { doMremap } from "../../src/mm/calls/mremap.ts";
import { leafOf, pteIndex } from "../../src/mmu/radix-table.ts";
import { PAGE_BYTES, PTE_ACCESSED, PTE_SPECIAL, makePte } from "../../src/mm/pte.ts";
import { trackRange } from "../../src/mm/fault/track.ts";
import { viewClose, viewOpen } from "../../src/mm/view/view-open.ts";
import { VM_READ, VM_WRITE } from "../../src/mm/vma/vma.ts";
import { EBUSY, EFAULT, EINVAL, ENOMEM, EPERM, errnoName } from "../../src/sync/errno.ts";
import { diceOf } from "../dice.ts";
import { FakeDevice, Harness, isValidNow } from "./harness.ts";

const { flags, values } = DEFAULT_ENCODING;
const READ = flags.valid;
const WRITE = flags.valid | flags.write;
const N = values.none;
const E = values.error;

interface SetUp {
  readonly harness: Harness;
  readonly device: FakeDevice;
  readonly range: HmmRange;
}

/** A range over pages 16.. with nothing mapped yet. */
function setUp(pages: number, options: Partial<HmmRangeOptions> = {}, ramBytes = 2 ** 22): SetUp {
  const harness = new Harness({ ramBytes });
  const device = FakeDevice.registered(harness);
  return { harness, device, range: harness.registered(device, 16, pages, options) };
}

function close({ harness, device, range }: SetUp): void {
  harness.run(hmmRangeUnregister(range));
  harness.freeRange(range);
  device.close();
  harness.leave();
}

function fault({ harness, range }: SetUp): number {
  return harness.reading(() => hmmRangeFault(range));
}

function kindsOf(range: HmmRange): number[] {
  return Array.from(
    range.pfns.subarray(0, range.endPage - range.startPage),
    (entry) => entry & 0xff,
  );
}

test("a read fault gives present pages and zero pages, a write fault writable pages", () => {
  const set = setUp(4, { defaultFlags: READ });
  set.harness.map(16, 4);
  set.harness.touch(17, 1);
  assert.equal(fault(set), 4);
  assert.deepEqual(kindsOf(set.range), [READ, WRITE, READ, READ]);
  set.range.defaultFlags = WRITE;
  assert.equal(fault(set), 4);
  assert.deepEqual(kindsOf(set.range), [WRITE, WRITE, WRITE, WRITE]);
  assert.equal(
    isValidNow(set.range),
    true,
    "what the faults themselves invalidated was read again",
  );
  close(set);
});

test("each page gets what it requests, after the mask and with the default flags", () => {
  const request = Uint32Array.of(0, READ, WRITE, 0, WRITE, 0x40 | READ);
  const set = setUp(6, { request, pfnFlagsMask: 0xff });
  set.harness.map(16, 6);
  assert.equal(fault(set), 6);
  assert.deepEqual(kindsOf(set.range), [N, READ, WRITE, N, WRITE, READ]);
  set.range.pfnFlagsMask = flags.write; // removes `valid`: nothing is requested
  set.harness.map(100, 1);
  request.fill(WRITE);
  assert.equal(fault(set), 6);
  assert.deepEqual(kindsOf(set.range), [N, READ, WRITE, N, WRITE, READ], "as it was");
  set.range.defaultFlags = READ;
  assert.equal(fault(set), 6);
  assert.deepEqual(kindsOf(set.range), [WRITE, WRITE, WRITE, WRITE, WRITE, WRITE]);
  close(set);
});

test("a mask without an array of requests is EINVAL", () => {
  const set = setUp(2, { pfnFlagsMask: 0xff });
  set.harness.map(16, 2);
  assert.equal(fault(set), EINVAL);
  assert.deepEqual(kindsOf(set.range), [N, N]);
  close(set);
});

test("a sparse range looks at the pages that are asked for alone", () => {
  const request = new Uint32Array(1024);
  const set = setUp(1024, { request, pfnFlagsMask: WRITE, isSparse: true, holes: HOLES_MARK });
  set.harness.map(16, 700);
  set.harness.touch(20, 8);
  set.range.pfns.fill(0xdead);
  for (const i of [5, 13, 600]) request[i] = i === 13 ? WRITE : READ;
  assert.equal(fault(set), 1024);
  const kinds = kindsOf(set.range);
  assert.deepEqual(
    kinds.flatMap((kind, i) => (kind === N || kind === E ? [] : [[i, kind]])),
    [
      [5, WRITE],
      [13, WRITE],
      [600, READ],
    ],
  );
  const noted = kinds.map((kind, i) => (i < 700 ? kind : kind - E)).filter((kind) => kind === N);
  assert.equal(noted.length, 1021, "none where there is a mapping, and error where there is not");
  request[701] = READ;
  assert.equal(fault(set), EFAULT);
  assert.equal(kindsOf(set.range)[5], WRITE, "good up to there");
  close(set);
});

test("default flags are not for pages that a sparse range does not ask for", () => {
  const request = Uint32Array.of(0, WRITE, 0, 0);
  const options = { pfnFlagsMask: WRITE, defaultFlags: READ, isSparse: true, holes: HOLES_MARK };
  const set = setUp(4, { ...options, request });
  set.harness.map(16, 3);
  assert.equal(fault(set), 4, "nobody asks for the hole");
  assert.deepEqual(kindsOf(set.range), [N, WRITE, N, E]);
  request[3] = flags.write;
  assert.equal(fault(set), EFAULT, "the default flags are for this one");
  close(set);
});

test("a sparse fault gives what one of all pages does: holes, rights, huge pages", () => {
  const seed = Number(process.env["HMM_SEED"] ?? 20_261_129);
  const dice = diceOf(seed);
  for (let round = 0; round < 30; round++) {
    const harness = new Harness({ ramBytes: 2 ** 24 });
    const device = FakeDevice.registered(harness);
    const pages = 2048;
    for (let page = 512; page < 512 + pages;) {
      const length = Math.min([512, 300, 40, 3][dice(4)] ?? 1, 512 + pages - page);
      const rights = [VM_READ | VM_WRITE, VM_READ | VM_WRITE, VM_READ, 0][dice(4)] ?? 0;
      if (dice(6) > 0) {
        harness.map(page, length, rights);
        const [address, bytes] = [page * PAGE_BYTES, length * PAGE_BYTES];
        if (dice(2) === 0)
          harness.must(doMadvise(harness.machine, harness.mm, address, bytes, MADV_HUGEPAGE));
        const touched = Math.min(length, [0, 1, 9][dice(3)] ?? 0);
        const isWrite = dice(2) === 0 && (rights & VM_WRITE) !== 0;
        if ((rights & VM_READ) !== 0) harness.touch(page + length - touched, touched, isWrite);
      }
      page += length;
    }
    const request = new Uint32Array(pages);
    for (let i = dice(40); i < pages; i += 1 + dice(round % 2 === 0 ? 300 : 9))
      request[i] = dice(3) === 0 ? WRITE : READ;
    const holes = dice(8) === 0 ? HOLES_FAIL : HOLES_MARK;
    const range = harness.registered(device, 512, pages, { request, pfnFlagsMask: 0xff, holes });
    const ask = (): number => harness.reading(() => hmmRangeFault(range));
    const where = `HMM_SEED=${seed}, round ${round}`;
    for (;;) {
      range.isSparse = true;
      ask(); // where it fails, its own faults may have changed what it had read
      const found = ask();
      const sparse = range.pfns.slice();
      range.isSparse = false;
      assert.equal(errnoName(ask()), errnoName(found), where);
      const isAsked = (_: number, i: number): boolean => request[i] !== 0;
      assert.deepEqual(sparse.filter(isAsked), range.pfns.filter(isAsked), where);
      assert.ok(
        sparse.every((entry, i) => isAsked(entry, i) || entry === N || entry === E),
        where,
      );
      const failed = sparse.findIndex(
        (entry, i) => isAsked(entry, i) && (entry === N || entry === E),
      );
      if (found > 0 || failed < 0 || holes === HOLES_FAIL) break;
      request[failed] = 0;
    }
    harness.run(hmmRangeUnregister(range));
    harness.freeRange(range);
    device.close();
    harness.leave();
  }
});

test("a sparse range without requests, or with larger pages, is EINVAL", () => {
  const set = setUp(4, { pfnFlagsMask: READ, isSparse: true });
  set.harness.map(16, 4);
  assert.equal(fault(set), EINVAL);
  set.range.request = new Uint32Array(4);
  set.range.pfnFlagsMask = 0;
  assert.equal(fault(set), EINVAL);
  set.range.pfnFlagsMask = READ;
  assert.equal(fault(set), 4);
  assert.deepEqual(kindsOf(set.range), [N, N, N, N]);
  close(set);
});

test("no mapping is EFAULT, no read permission and no write permission EPERM", () => {
  const set = setUp(6, { defaultFlags: READ });
  set.harness.map(16, 2);
  assert.equal(fault(set), EFAULT);
  assert.deepEqual(kindsOf(set.range), [READ, READ, E, N, N, N]);
  set.harness.map(18, 2, 0);
  assert.equal(fault(set), EPERM);
  assert.deepEqual(kindsOf(set.range), [READ, READ, E, N, N, N]);
  close(set);
  const write = setUp(4, { defaultFlags: WRITE });
  write.harness.map(16, 2);
  write.harness.map(18, 2, VM_READ);
  assert.equal(fault(write), EPERM);
  assert.deepEqual(kindsOf(write.range), [WRITE, WRITE, E, N]);
  close(write);
});

test("with HOLES_MARK only pages that are requested can fail", () => {
  const request = Uint32Array.of(READ, 0, 0, READ, 0, 0);
  const set = setUp(6, { request, pfnFlagsMask: 0xff, holes: HOLES_MARK });
  set.harness.map(16, 1);
  set.harness.map(18, 1, 0);
  set.harness.map(19, 1);
  assert.equal(fault(set), 6);
  assert.deepEqual(kindsOf(set.range), [READ, E, E, READ, E, E]);
  request[2] = READ;
  assert.equal(fault(set), EFAULT, "no read permission, in the words of later Linux");
  assert.deepEqual(kindsOf(set.range), [READ, E, E, N, N, N]);
  close(set);
});

test("a page beyond the end of a shared source is EFAULT at that page", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  // the size at which a shared anonymous object ends exactly where its mapping does
  const pages = 2 ** 18;
  harness.map(16, pages, VM_READ | VM_WRITE, true);
  const grow = {
    oldLengthBytes: pages * PAGE_BYTES,
    newLengthBytes: (pages + 1) * PAGE_BYTES,
    mayMove: false,
    to: undefined,
  };
  assert.equal(
    harness.run(doMremap(harness.machine, harness.mm, { address: 16 * PAGE_BYTES, ...grow })),
    16 * PAGE_BYTES,
  );
  const set = {
    harness,
    device,
    range: harness.registered(device, 16 + pages - 1, 2, { defaultFlags: READ }),
  };
  assert.equal(fault(set), EFAULT);
  assert.deepEqual(kindsOf(set.range), [READ, E]);
  close(set);
});

test("a special page is EFAULT with a mark of its own, if it is requested", () => {
  const set = setUp(3);
  set.harness.map(16, 3);
  set.harness.touch(16, 3);
  const { memory } = set.harness.machine;
  const index = pteIndex(leafOf(memory, set.harness.mm.pgd, 17), 17);
  const before = memory.words[index] ?? 0;
  memory.words[index] = makePte(77, PTE_SPECIAL);
  assert.equal(fault(set), 3);
  assert.deepEqual(kindsOf(set.range), [WRITE, values.special, WRITE]);
  set.range.defaultFlags = READ;
  assert.equal(fault(set), EFAULT);
  assert.deepEqual(kindsOf(set.range), [WRITE, values.special, N]);
  memory.words[index] = before;
  close(set);
});

test("without memory the answer is ENOMEM at the page without a frame, and the pages before it stay", () => {
  const set = setUp(400, { defaultFlags: WRITE }, 2 ** 20);
  set.harness.map(16, 400);
  assert.equal(fault(set), ENOMEM);
  const kinds = kindsOf(set.range);
  const stop = kinds.indexOf(E);
  assert.ok(stop > 100 && stop < 257, `${stop} pages fit`);
  assert.ok(kinds.slice(0, stop).every((kind) => kind === WRITE));
  assert.ok(kinds.slice(stop + 1).every((kind) => kind === N));
  set.range.defaultFlags = READ;
  assert.equal(fault(set), 400, "zero pages need none");
  close(set);
});

test("a write fault of pages that the device had copied invalidates its own range, and is read again all the same", () => {
  const set = setUp(64, { defaultFlags: READ });
  const { harness, range, device } = set;
  harness.map(16, 64);
  harness.touch(16, 64);
  const copyable = new Uint8Array(64);
  harness.reading(() => trackRange(harness.machine, harness.mm, 16, 80, copyable));
  assert.equal(fault(set), 64);
  assert.ok(
    kindsOf(range).every((kind) => kind === READ),
    "tracked pages are not writable",
  );
  range.defaultFlags = WRITE;
  device.calls.length = 0;
  assert.equal(fault(set), 64);
  assert.equal(device.calls.length, 64);
  assert.ok(kindsOf(range).every((kind) => kind === WRITE));
  assert.equal(isValidNow(range), true);
  close(set);
});

test("tracking the pages that are asked for leaves the others, and notifies of their runs alone", () => {
  const set = setUp(64, { defaultFlags: READ });
  const { harness, range, device } = set;
  harness.map(16, 64);
  harness.touch(16, 64);
  const asked = new Uint8Array(64);
  for (const i of [3, 4, 9, 63]) asked[i] = 1;
  const copyable = new Uint8Array(64).fill(1);
  const track = (): void => {
    harness.reading(() => trackRange(harness.machine, harness.mm, 16, 80, copyable, asked));
  };
  device.calls.length = 0;
  track();
  assert.deepEqual(
    device.calls.map(({ startPage, endPage }) => [startPage - 16, endPage - 16]),
    [
      [3, 5],
      [9, 10],
      [63, 64],
    ],
  );
  assert.deepEqual(copyable, asked);
  assert.equal(fault(set), 64);
  assert.deepEqual(
    kindsOf(range).map((kind) => kind === READ),
    Array.from(asked, (one) => one === 1),
  );
  device.calls.length = 0;
  track();
  assert.equal(device.calls.length, 0, "none of them is writable any more");
  close(set);
});

test("EBUSY while an invalidation is in flight: the lock is kept", () => {
  const set = setUp(4, { defaultFlags: READ });
  const { harness, range } = set;
  harness.map(16, 4);
  harness.touch(16, 4);
  const hold = harness.run(viewOpen(harness.machine, harness.mm, 18, 19, true));
  assert.ok(hold > 0);
  assert.equal(fault(set), EBUSY); // `reading` gives back a lock that must still be held
  assert.equal(harness.run(hmmRangeFaultUnlockedTimeout(range, 5)), EBUSY, "the time is up");
  assert.equal(isValidNow(range), false);
  harness.run(viewClose(harness.machine, hold));
  assert.equal(harness.run(hmmRangeFaultUnlockedTimeout(range, 0)), 4);
  assert.equal(isValidNow(range), true);
  close(set);
});

test("a page that is changed under every fault ends in EBUSY, not in a loop", () => {
  const set = setUp(1, { defaultFlags: WRITE });
  const { harness, device } = set;
  harness.map(16, 1);
  harness.touch(16, 1);
  harness.reading(() => trackRange(harness.machine, harness.mm, 16, 17, new Uint8Array(1)));
  const { memory } = harness.machine;
  const index = pteIndex(leafOf(memory, harness.mm.pgd, 16), 16);
  // Another thread is faster each time: between the fault's look at the entry and its change of it.
  device.onInvalidate = function* () {
    memory.words[index] = (memory.words[index] ?? 0) ^ PTE_ACCESSED;
  };
  device.calls.length = 0;
  assert.equal(fault(set), EBUSY);
  assert.equal(device.calls.length, FAULTS_OF_PAGE_MAX);
  device.onInvalidate = undefined;
  assert.equal(fault(set), 1);
  close(set);
});

test("a fault without the mmap lock is an assertion", () => {
  const set = setUp(2);
  assert.throws(() => set.harness.run(hmmRangeFault(set.range)), /mmapLock/);
  close(set);
});

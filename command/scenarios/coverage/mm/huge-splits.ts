/**
 * @module A huge page is split, because a page of it is given up, beside each thing that may meet
 * it: fork, munmap, mprotect, mremap, a device's fault, an eviction, a pin, exit, and the death of
 * either thread. Beside faults, stores and migrations it is in huge-pages.ts.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { doMprotect } from "../../../../src/mm/calls/mprotect.ts";
import { doMremap } from "../../../../src/mm/calls/mremap.ts";
import { HUGE_PAGES, clearHuge, hugeLeafAt } from "../../../../src/mm/huge.ts";
import { mmgetNotZero, mmput } from "../../../../src/mm/lifetime/mm.ts";
import { evictDeviceFrame } from "../../../../src/mm/migrate/device-evict.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { SELECT_DEVICE, migrateRange } from "../../../../src/mm/migrate/migrate-vma.ts";
import {
  KIND_MIGRATION,
  PAGE_BYTES,
  holdsFrame,
  makeNonPresent,
  ptePfn,
  withoutWrite,
} from "../../../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { VM_READ, vmaOf } from "../../../../src/mm/vma/vma.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { atomicExchange, atomicStore } from "../../../../src/sync/atomics.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import type { HarnessBody } from "../on-harness.ts";
import {
  BEFORE,
  type HugeWorld,
  MOVED,
  OWNER,
  START,
  changeAlone,
  contentsOf,
  discard,
  faultOfDevice,
  fork,
  huge,
  pinAndStore,
  requireStored,
  seeAndFork,
  store,
  unmapHalf,
} from "./huge-stage.ts";

type Body = HarnessBody<HugeWorld>;

const SPLIT = ["mm/calls/madvise.doMadvise", "mm/huge.clearHuge"] as const;
const STORE = ["mmu/widths/u32-access.store"] as const;
const ADDRESS: number = START * PAGE_BYTES;
const LENGTH_BYTES: number = HUGE_PAGES * PAGE_BYTES;
/** The page that is given up. */
const GIVEN_UP = 7;

/**
 * Gives one page up, without the mmap lock: what it has found of the table may be another's since.
 */
function discardUnlocked(page: number): Body {
  return function* (_world, { machine, mm }) {
    const { memory } = machine;
    yield* access(memory, "read", mm.at, 1, "page table");
    const leaf = hugeLeafAt(memory, mm, START);
    if (leaf === 0) return;
    const index = pteIndex(leaf, START + page);
    yield* access(memory, "read", index, 1, "pte");
    const pte = memory.words[index]!;
    yield* mm.pageTableLock.lock();
    clearHuge(memory, mm, START);
    yield* mm.pageTableLock.unlock();
    yield* access(memory, "update", index, 1, "pte");
    atomicExchange(memory.words, index, 0);
    yield* mm.shootdown.flush(START, START + HUGE_PAGES);
    if (holdsFrame(pte)) yield* machine.ram.refs.pagePut(ptePfn(pte));
  };
}

/** Gives one page up, and makes small pages of the others after that. */
function splitLate(page: number): Body {
  return function* (_world, { machine, mm }) {
    const { memory } = machine;
    yield* mm.mmapLock.downRead();
    const index = pteIndex(leafOf(memory, mm.pgd, START), START + page);
    yield* access(memory, "update", index, 1, "pte");
    const pte = atomicExchange(memory.words, index, 0);
    yield* mm.shootdown.flush(START, START + HUGE_PAGES);
    if (holdsFrame(pte)) yield* machine.ram.refs.pagePut(ptePfn(pte));
    yield* mm.pageTableLock.lock();
    clearHuge(memory, mm, START);
    yield* mm.pageTableLock.unlock();
    yield* mm.mmapLock.upRead();
  };
}

/** What a thread does that has a user of the space, if it still gets one. */
function asUser(body: Body): Body {
  return function* (world, harness) {
    const { machine, mm } = harness;
    if (!(yield* mmgetNotZero(mm))) return;
    yield* body(world, harness);
    yield* mmput(machine, mm);
  };
}

const protectAll: Body = (_world, { machine, mm }) =>
  doMprotect(machine, mm, ADDRESS, LENGTH_BYTES, VM_READ);

const moveAll: Body = (_world, { machine, mm }) =>
  doMremap(machine, mm, {
    address: ADDRESS,
    oldLengthBytes: LENGTH_BYTES,
    newLengthBytes: LENGTH_BYTES,
    mayMove: true,
    to: MOVED * PAGE_BYTES,
  });

/** The frame of the page that is given up. */
const evict: Body = ({ memory }, { machine }) =>
  evictDeviceFrame(machine, memory, memory.basePfn + GIVEN_UP);

/** Brings the page back, and puts the new entry where the old one was, whatever is there now. */
function* evictUnasked(_world: HugeWorld, { machine, mm }: HmmHarness): Task<void> {
  const { memory, ram } = machine;
  yield* mm.mmapLock.downRead();
  const vma = vmaOf(memory, mm, START) ?? bug("nothing is mapped");
  const page = { startPage: START + GIVEN_UP, endPage: START + GIVEN_UP + 1 };
  const args = { machine, mm, vma, ...page, select: SELECT_DEVICE, owner: OWNER };
  yield* migrateRange(args, {
    alloc: () => ram.allocFrame(false),
    *copy(from, to) {
      yield* ram.copyFrame(from, to);
      const index = pteIndex(leafOf(memory, mm.pgd, page.startPage), page.startPage);
      yield* access(memory, "write", index, 1, "pte");
      atomicStore(memory.words, index, makeNonPresent(KIND_MIGRATION, from));
    },
  });
  yield* mm.mmapLock.upRead();
}

function requireGivenUp(harness: HmmHarness, firstPage: number = START): void {
  assert(harness.entryOf(firstPage + GIVEN_UP) === 0, "the page that was given up has an entry");
}

/** Opens a view for reading, and holds it until it dies, or closes it. */
function* pin(_world: HugeWorld, { machine, mm }: HmmHarness): Task<void> {
  const at = yield* viewOpen(machine, mm, START + 5, START + 6, false);
  assert(at > 0, `opening answered ${at}`);
  yield* viewClose(machine, at);
}

const UNLOCKED = "The page is given up without the mmap lock.";
const UNSPLIT = "The bit stays.";

export const hugeSplits: readonly Covered[] = [
  huge({
    name: "discard-vs-fork",
    summary: "A page of a huge page is given up while the space forks.",
    state: "written",
    tasks: {
      discarder: [SPLIT, discard(GIVEN_UP, 1)],
      forker: [["mm/lifetime/fork.doFork"], seeAndFork(fork)],
    },
    check(world, harness) {
      requireGivenUp(harness);
      const child = Mm.at(harness.machine.memory, world.child);
      assert(world.seenByChild === BEFORE, `the child saw ${world.seenByChild}`);
      assert(contentsOf(harness, 5, child) === BEFORE, "the child's page has changed");
    },
    twins: [["without-lock", UNLOCKED, "assertion", { discarder: discardUnlocked(GIVEN_UP) }]],
  }),
  huge({
    name: "discard-vs-munmap",
    summary: "A page of a huge page is given up while half of it, the page included, is unmapped.",
    state: "written",
    tasks: {
      discarder: [SPLIT, discard(HUGE_PAGES - 1, 1)],
      unmapper: [["mm/calls/munmap.doMunmap", "mm/huge.clearHuge"], unmapHalf],
    },
    check(_world, harness) {
      assert(harness.entryOf(START + HUGE_PAGES - 1) === 0, "an entry is left");
      assert(contentsOf(harness, 5) === BEFORE, "a page beside it has changed");
    },
    twins: [
      ["without-lock", UNLOCKED, "assertion", { discarder: discardUnlocked(HUGE_PAGES - 1) }],
    ],
  }),
  huge({
    name: "discard-vs-mprotect",
    summary: "A page of a huge page is given up while all of it loses the right to be written.",
    state: "written",
    tasks: {
      discarder: [SPLIT, discard(GIVEN_UP, 1)],
      protector: [["mm/calls/mprotect.doMprotect"], protectAll],
    },
    check(_world, harness) {
      requireGivenUp(harness);
      const pte = harness.entryOf(START + 5);
      assert(pte === withoutWrite(pte), "a page may be written after mprotect");
    },
    twins: [["without-lock", UNLOCKED, "assertion", { discarder: discardUnlocked(GIVEN_UP) }]],
  }),
  huge({
    name: "discard-vs-mremap",
    summary: "A page of a huge page is given up while the mapping moves to another address.",
    state: "written",
    tasks: {
      discarder: [SPLIT, discard(GIVEN_UP, 1)],
      mover: [["mm/calls/mremap.doMremap"], moveAll],
    },
    check(_world, harness) {
      assert(harness.entryOf(START + 5) === 0, "an entry is left at the old place");
    },
    twins: [["without-lock", UNLOCKED, "assertion", { discarder: discardUnlocked(GIVEN_UP) }]],
  }),
  huge({
    name: "device-fault-vs-discard",
    summary: "A device faults on the first pages of a huge page while one of them is given up.",
    state: "written",
    tasks: {
      device: [["hmm/walk/fault.hmmRangeFault"], faultOfDevice],
      discarder: [SPLIT, discard(2, 1)],
    },
    check(_world, harness) {
      assert(contentsOf(harness, 5) === BEFORE, "a page beside it has changed");
    },
    twins: [
      [
        "unnotified",
        "The entry goes, and no notifier is called.",
        "assertion",
        { discarder: changeAlone(2, () => 0) },
      ],
    ],
  }),
  huge({
    name: "evict-vs-discard",
    summary: "A page of a huge page on a device is evicted while it is given up.",
    state: "moved",
    tasks: {
      evictor: [["mm/migrate/device-evict.evictDeviceFrame", "mm/huge.splitHuge"], evict],
      discarder: [SPLIT, discard(GIVEN_UP, 1)],
    },
    check: (_world, harness) => requireGivenUp(harness),
    twins: [
      [
        "without-look",
        "After the copy the entry is taken for the migration's own.",
        "assertion",
        { evictor: evictUnasked },
      ],
    ],
  }),
  huge({
    name: "pin-vs-discard",
    summary: "A page of a huge page is pinned, and stored to, while one beside it is given up.",
    state: "written",
    tasks: {
      viewer: [["mm/view/view-open.viewOpen"], pinAndStore],
      discarder: [SPLIT, discard(GIVEN_UP, 1)],
    },
    check(_world, harness) {
      requireGivenUp(harness);
      requireStored(harness);
    },
    twins: [["unsplit", UNSPLIT, "assertion", { discarder: changeAlone(GIVEN_UP, () => 0) }]],
  }),
  huge({
    name: "discard-vs-exit",
    summary: "A page of a huge page is given up while the last other user of the space goes.",
    state: "written",
    tasks: {
      discarder: [SPLIT, asUser(discard(GIVEN_UP, 1))],
      exit: [
        ["mm/lifetime/mm.mmput"],
        function* (world: HugeWorld, { machine, mm }: HmmHarness): Task<void> {
          world.hasEnded = true;
          yield* mmput(machine, mm);
        },
      ],
    },
    twins: [
      [
        "without-user",
        "Who gives it up has no user of the space.",
        "use-after-free",
        { discarder: discard(GIVEN_UP, 1) },
      ],
    ],
  }),
  huge({
    name: "death-of-discard",
    summary:
      "A thread dies at any point of giving up a page of a huge page, while another stores beside it: the machine goes on, or stops.",
    state: "written",
    killable: "discarder",
    tasks: {
      discarder: [SPLIT, discard(GIVEN_UP, 1)],
      storer: [STORE, store(5)],
    },
    check: (_world, harness) => requireStored(harness),
    twins: [
      [
        "late",
        "The huge page is split after the entry has gone.",
        "assertion",
        { discarder: splitLate(GIVEN_UP) },
      ],
    ],
  }),
  huge({
    name: "death-of-pin",
    summary:
      "A thread dies while it has a page of a huge page pinned, and one beside it is given up.",
    state: "written",
    killable: "viewer",
    heldByDead: 1,
    tasks: {
      viewer: [["mm/view/view-open.viewOpen"], pin],
      discarder: [SPLIT, discard(GIVEN_UP, 1)],
    },
    check(_world, harness) {
      requireGivenUp(harness);
    },
    twins: [["unsplit", UNSPLIT, "assertion", { discarder: changeAlone(GIVEN_UP, () => 0) }]],
  }),
];

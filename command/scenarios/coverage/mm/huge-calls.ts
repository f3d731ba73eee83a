/**
 * @module Huge pages (mm/huge.ts) that a program asks for: small pages that are made a huge one
 * again (MADV_COLLAPSE), explicit mappings (MAP_HUGETLB), and an advice against them. What must
 * hold is that of huge-pages.ts.
 */

import { MADV_NOHUGEPAGE, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { doMprotect } from "../../../../src/mm/calls/mprotect.ts";
import { HUGE_PAGES, splitHuge } from "../../../../src/mm/huge.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { PAGE_BYTES, ptePfn } from "../../../../src/mm/pte.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Covered } from "../covered.ts";
import {
  AFTER,
  BEFORE,
  START,
  changeAlone,
  collapse,
  collapseBlindly,
  contentsOf,
  discard,
  fork,
  forkUnflushed,
  huge,
  replaceAndStore,
  requireCollapsed,
  requireStored,
  seeAndFork,
  store,
} from "./huge-stage.ts";

const STORE = ["mmu/widths/u32-access.store"];
const FAULT = ["mm/fault/huge-fault.hugeFault"];
const COLLAPSE = ["mm/calls/collapse.collapseRange", "mm/huge.mergeHuge"];
const COPY = ["mm/fault/huge-fault.copyHuge", ...STORE];

export const hugeCalls: readonly Covered[] = [
  huge({
    name: "collapse-vs-store",
    summary: "The pages of a split huge page get their bit again while another thread stores.",
    state: "written",
    *prepare(_world, { machine, mm }) {
      yield* mm.mmapLock.downRead();
      yield* splitHuge(machine, mm, START);
      yield* mm.mmapLock.upRead();
    },
    tasks: {
      collapser: [COLLAPSE, collapse],
      storer: [STORE, store(5)],
    },
    check(world, harness) {
      assert(world.answer === 0, `the collapse answered ${world.answer}`);
      requireCollapsed(world, harness);
      requireStored(harness);
    },
    twins: [
      [
        "unsplit-after",
        "An entry is changed once more, and the bit stays.",
        "assertion",
        {
          *storer(world, harness) {
            yield* changeAlone(5, () => 0)(world, harness);
          },
        },
      ],
    ],
  }),
  huge({
    name: "collapse-scattered-vs-store",
    summary:
      "Pages whose frames are not in a row move into such frames, and become a huge page, while another thread stores.",
    sample: 12,
    state: "written",
    *prepare(world, harness) {
      for (const page of [7, 9]) yield* discard(page, 1)(world, harness);
      for (const page of [7, 9]) yield* store(page)(world, harness);
      const [one, other] = [7, 9].map((page) => ptePfn(harness.entryOf(START + page)));
      assert(one !== undefined && other !== undefined && one > other, "they are in a row again");
    },
    tasks: {
      collapser: [[...COLLAPSE, "mm/migrate/migrate-to-run.migrateToRun"], collapse],
      storer: [STORE, store(5)],
    },
    check(world, harness) {
      requireCollapsed(world, harness);
      requireStored(harness);
      assert(contentsOf(harness, 7) === AFTER, "what was there before is lost");
    },
    twins: [
      [
        "blind",
        "The bit is set without a look at the entries.",
        "assertion",
        { collapser: collapseBlindly },
      ],
    ],
  }),
  huge({
    name: "explicit-store-vs-fork",
    summary: "A space with an explicit huge page forks while another thread stores: it is copied.",
    state: "explicit",
    tasks: {
      storer: [COPY, store(5)],
      forker: [["mm/lifetime/fork.doFork", "mm/huge.linkHuge"], seeAndFork(fork)],
    },
    check(world, harness) {
      const ofChild = contentsOf(harness, 5, Mm.at(harness.machine.memory, world.child));
      assert(ofChild === world.seenByChild, `the child saw ${world.seenByChild}, now ${ofChild}`);
      requireStored(harness);
    },
    twins: [
      [
        "unflushed",
        "The parent's entries lose the right to write, and nobody waits for stores.",
        "assertion",
        { forker: seeAndFork(forkUnflushed) },
      ],
    ],
  }),
  huge({
    name: "explicit-copy-vs-copy",
    summary:
      "Two threads store to an explicit huge page that a fork shares: one copy replaces it, the other is given back.",
    sample: 12,
    state: "explicit-forked",
    tasks: {
      first: [COPY, store(7)],
      second: [COPY, store(9)],
    },
    check({ child }, harness) {
      const space = Mm.at(harness.machine.memory, child);
      const seen = [5, 7, 9].map((page) => contentsOf(harness, page));
      assert(seen.join() === `${BEFORE},${AFTER},${AFTER}`, `the pages hold ${seen.join()}`);
      assert(contentsOf(harness, 7, space) === 0, "the store went to both");
    },
    twins: [
      [
        "blind",
        "One puts other frames in the place of what is there.",
        "assertion",
        { first: replaceAndStore(7) },
      ],
    ],
  }),
  huge({
    name: "store-vs-store-after-none",
    summary:
      "Two threads store to a huge page that nobody was allowed to touch for a while: its frames are kept.",
    sample: 24,
    state: "written",
    *prepare(_world, { machine, mm }) {
      const [address, bytes] = [START * PAGE_BYTES, HUGE_PAGES * PAGE_BYTES];
      yield* doMprotect(machine, mm, address, bytes, 0);
      yield* doMprotect(machine, mm, address, bytes, VM_READ | VM_WRITE);
    },
    tasks: {
      first: [[...FAULT, ...STORE], store(7)],
      second: [[...FAULT, ...STORE], store(9)],
    },
    check(_world, harness) {
      const seen = [5, 7, 9].map((page) => contentsOf(harness, page));
      assert(seen.join() === `${BEFORE},${AFTER},${AFTER}`, `the pages hold ${seen.join()}`);
    },
    twins: [
      [
        "blind",
        "One puts other frames in the place of what is there.",
        "assertion",
        { first: replaceAndStore(7) },
      ],
    ],
  }),
  huge({
    name: "fault-vs-fault-advised-against",
    summary:
      "Two threads fault on a huge page that was given up and is not wanted again: it is split once, and each gets a small page.",
    sample: 24,
    state: "written",
    *prepare(world, harness) {
      const { machine, mm } = harness;
      yield* discard(0, HUGE_PAGES)(world, harness);
      const [address, bytes] = [START * PAGE_BYTES, HUGE_PAGES * PAGE_BYTES];
      const answer = yield* doMadvise(machine, mm, address, bytes, MADV_NOHUGEPAGE);
      assert(answer === 0, `the advice was answered with ${answer}`);
    },
    tasks: {
      first: [["mm/huge.splitHuge", ...STORE], store(5)],
      second: [["mm/huge.splitHuge", ...STORE], store(7)],
    },
    check(_world, harness) {
      assert(contentsOf(harness, 7) === AFTER, "a store is lost");
      requireStored(harness);
    },
    twins: [
      [
        "unsplit",
        "An entry is changed, and the bit stays.",
        "assertion",
        { first: changeAlone(5, () => 1 << 20) },
      ],
    ],
  }),
];

/**
 * @module Huge pages (mm/huge.ts) beside everything that splits, shares or moves them. In every
 * order: while a block has its bit, its 512 entries are those of one huge page; no frame has more
 * or fewer references than entries; and the pages hold what was stored.
 */

import { Mm } from "../../../../src/mm/mm-struct.ts";
import { HUGE_PAGES } from "../../../../src/mm/huge.ts";
import { withoutWrite } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Covered } from "../covered.ts";
import {
  AFTER,
  BEFORE,
  START,
  changeAlone,
  contentsOf,
  copiesEarly,
  discard,
  faultOfDevice,
  fork,
  forkPinned,
  forkUnflushed,
  huge,
  linkBlindly,
  moveToDevice,
  pinAndStore,
  protectPage,
  replaceAndStore,
  replaceUnnotified,
  requireStored,
  reuseBlindly,
  seeAndFork,
  store,
  storeIfMapped,
  touch,
  unmapHalf,
} from "./huge-stage.ts";

const FAULT = ["mm/fault/cpu-fault.cpuFault", "mm/fault/huge-fault.hugeFault"];
const STORE = ["mmu/widths/u32-access.store"];
const ADVISE = ["mm/calls/madvise.doMadvise", "mm/huge.clearHuge"];
const MOVE = ["mm/migrate/migrate-huge.isolateHuge", "mm/migrate/migrate-huge.movesAsHuge"];

export const hugePages: readonly Covered[] = [
  huge({
    name: "fault-vs-fault",
    summary:
      "Two threads touch memory first: one has the huge page, the other gives its frames back.",
    state: "untouched",
    tasks: {
      writer: [["mm/huge.linkHuge", ...FAULT], touch(3, true)],
      reader: [FAULT, touch(7, false)],
    },
    twins: [
      ["blind", "One links its leaf over what is there.", "assertion", { writer: linkBlindly }],
    ],
  }),
  huge({
    name: "write-vs-write-on-zeros",
    summary: "Two threads store to a huge page of zeros: it is replaced once.",
    state: "zeros",
    tasks: {
      first: [["mm/fault/huge-fault.replaceHugeZero", ...STORE], store(3)],
      second: [["mm/fault/huge-fault.replaceHugeZero", ...STORE], store(7)],
    },
    check(_world, harness) {
      const seen = [contentsOf(harness, 3), contentsOf(harness, 7)];
      assert(
        seen.every((word) => word === AFTER),
        `the stores left ${seen.join(" and ")}`,
      );
    },
    twins: [
      [
        "blind",
        "One puts other frames in the place of what is there.",
        "assertion",
        { first: replaceAndStore(3) },
      ],
    ],
  }),
  huge({
    name: "store-vs-discard",
    summary: "A page of a huge page is given up while another thread stores to one beside it.",
    state: "written",
    tasks: {
      storer: [STORE, store(7)],
      discarder: [ADVISE, discard(5, 1)],
    },
    check(_world, harness) {
      assert(contentsOf(harness, 7) === AFTER, "the store is lost");
    },
    twins: [["unsplit", "The bit stays.", "assertion", { discarder: changeAlone(5, () => 0) }]],
  }),
  huge({
    name: "fault-vs-discard-whole",
    summary:
      "A huge page is given up while another thread stores to it: it is filled anew, or not.",
    sample: 12,
    state: "written",
    tasks: {
      storer: [[...STORE, ...FAULT], store(7)],
      discarder: [
        ["mm/calls/madvise.doMadvise", "mm/entries/zap.clearHugeEntries"],
        discard(0, HUGE_PAGES),
      ],
    },
    twins: [
      [
        "entry-by-entry",
        "An entry is cleared, and the bit stays.",
        "assertion",
        { discarder: changeAlone(5, () => 0) },
      ],
    ],
  }),
  huge({
    name: "copy-vs-discard",
    summary:
      "A page of a huge page that a fork shares is copied while a page beside it is given up.",
    state: "forked",
    tasks: {
      storer: [["mm/fault/huge-fault.hugeFault", ...STORE], store(5)],
      discarder: [ADVISE, discard(7, 1)],
    },
    check({ child }, harness) {
      const ofChild = contentsOf(harness, 5, Mm.at(harness.machine.memory, child));
      assert(contentsOf(harness, 5) === AFTER && ofChild === BEFORE, "the store went to both");
    },
    twins: [
      [
        "reuses",
        "All entries are made writable by what was seen before the lock.",
        "assertion",
        { discarder: reuseBlindly },
      ],
    ],
  }),
  huge({
    name: "store-vs-munmap",
    summary: "Half of a huge page is unmapped while another thread stores to both halves.",
    state: "written",
    tasks: {
      storer: [
        STORE,
        function* (_world, harness) {
          yield* storeIfMapped(harness, 3);
          yield* storeIfMapped(harness, HUGE_PAGES - 1);
        },
      ],
      unmapper: [["mm/calls/munmap.doMunmap", "mm/huge.clearHuge"], unmapHalf],
    },
    check(_world, harness) {
      assert(contentsOf(harness, 3) === AFTER, "the store is lost");
      assert(harness.entryOf(START + HUGE_PAGES - 1) === 0, "an entry is left");
    },
    twins: [
      [
        "unsplit",
        "The bit stays.",
        "assertion",
        { unmapper: changeAlone(HUGE_PAGES - 1, () => 0) },
      ],
    ],
  }),
  huge({
    name: "store-vs-mprotect",
    summary:
      "A page of a huge page loses the right to be written while another thread stores to it.",
    state: "written",
    tasks: {
      storer: [STORE, (_world, harness) => storeIfMapped(harness, 5)],
      protector: [["mm/calls/mprotect.doMprotect", "mm/huge.clearHuge"], protectPage],
    },
    twins: [
      ["unsplit", "The bit stays.", "assertion", { protector: changeAlone(5, withoutWrite) }],
    ],
  }),
  huge({
    name: "store-vs-fork",
    summary:
      "A space with a huge page forks while another thread stores: the child keeps what it got.",
    state: "written",
    tasks: {
      storer: [[...STORE, "mm/fault/huge-fault.hugeFault"], store(5)],
      forker: [["mm/lifetime/fork.doFork", "mm/huge.linkHuge"], seeAndFork(fork)],
    },
    check(world, harness) {
      const ofChild = contentsOf(harness, 5, Mm.at(harness.machine.memory, world.child));
      assert(ofChild === world.seenByChild, `the child saw ${world.seenByChild}, now ${ofChild}`);
      assert(contentsOf(harness, 5) === AFTER, "the parent's store is lost");
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
    name: "device-fault-vs-write-on-zeros",
    summary: "A device faults on a huge page of zeros, which a store replaces.",
    state: "zeros",
    tasks: {
      device: [["hmm/walk/fault.hmmRangeFault"], faultOfDevice],
      storer: [["mm/fault/huge-fault.replaceHugeZero", ...STORE], store(3)],
    },
    twins: [
      [
        "unnotified",
        "The page of zeros is replaced, and no notifier is called.",
        "assertion",
        { storer: replaceUnnotified },
      ],
    ],
  }),
  huge({
    name: "migrate-vs-store",
    summary: "A huge page moves to a device while another thread stores to it.",
    sample: 12,
    state: "written",
    tasks: {
      mover: [[...MOVE, "mm/huge-migration.replaceHuge"], moveToDevice],
      storer: [STORE, store(5)],
    },
    check: (_world, harness) => requireStored(harness),
    twins: [
      [
        "copied-early",
        "The contents are copied before the entries are taken.",
        "assertion",
        { mover: copiesEarly(moveToDevice) },
      ],
    ],
  }),
  huge({
    name: "migrate-vs-discard",
    summary: "A huge page moves to a device while a page of it is given up.",
    sample: 12,
    state: "written",
    tasks: {
      mover: [MOVE, moveToDevice],
      discarder: [ADVISE, discard(7, 1)],
    },
    twins: [["unsplit", "The bit stays.", "assertion", { discarder: changeAlone(7, () => 0) }]],
  }),
  huge({
    name: "return-vs-discard",
    summary: "A store brings a huge page back from a device while a page of it is given up.",
    sample: 12,
    state: "moved",
    tasks: {
      storer: [["mm/migrate/migrate-vma.migrateFaultToRam", ...STORE], store(5)],
      discarder: [ADVISE, discard(7, 1)],
    },
    check: (_world, harness) => requireStored(harness),
    twins: [["unsplit", "The bit stays.", "assertion", { discarder: changeAlone(7, () => 0) }]],
  }),
  huge({
    name: "pin-vs-fork",
    summary: "A page of a huge page is pinned by a view, and stored to, while the space forks.",
    state: "written",
    tasks: {
      viewer: [["mm/view/view-open.viewOpen"], pinAndStore],
      forker: [["mm/lifetime/fork.doFork", "mm/huge.clearHuge"], seeAndFork(fork)],
    },
    check(world, harness) {
      const ofChild = contentsOf(harness, 5, Mm.at(harness.machine.memory, world.child));
      assert(ofChild === world.seenByChild, `the child saw ${world.seenByChild}, now ${ofChild}`);
      assert(contentsOf(harness, 5) === AFTER, "the store is lost");
    },
    twins: [
      [
        "shares-pinned",
        "The fork shares a huge page without a look at its pins.",
        "assertion",
        { forker: seeAndFork(forkPinned) },
      ],
    ],
  }),
];

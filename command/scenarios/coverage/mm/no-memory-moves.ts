/**
 * @module Memory runs out while mappings grow, move, shrink and are doubled. Each call has the
 * result that it has on Linux.
 */

import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { LEAF_WORDS } from "../../../../src/mmu/radix-table.ts";
import { type MremapRequest, doMremap } from "../../../../src/mm/calls/mremap.ts";
import { type Attempt, attempted } from "../attempts.ts";
import type { Covered } from "../covered.ts";
import {
  BUFFER,
  ELSEWHERE,
  FAR,
  PRIVATE,
  SHARED,
  type Stage,
  UNTOUCHED,
  address,
  RW,
  changed,
  makeStage,
  stageWith,
  onStage,
} from "./mixed-stage.ts";

/** Free, two pages below the end of a leaf of the page table. */
const ACROSS: number = 4096 + 512 - 2 - HARNESS_PAGE;

/** The block of a whole leaf, and where it goes, under another entry of the top table. */
const BLOCK: number = 16 * LEAF_WORDS - HARNESS_PAGE;
const FAR_BLOCK: number = 2 * FAR - HARNESS_PAGE;

interface Remapping {
  readonly from: number;
  readonly oldPages: number;
  readonly newPages: number;
  readonly to?: number;
  readonly keepOld?: boolean;
  readonly mayMove?: boolean;
  readonly wanted: string;
  readonly setup?: Attempt<Stage>["setup"];
}

function mremaps(name: string, summary: string, remapping: Remapping): Attempt<Stage> {
  const {
    from,
    oldPages,
    newPages,
    to,
    keepOld = false,
    mayMove = true,
    wanted,
    setup = makeStage,
  } = remapping;
  const lengths = { oldLengthBytes: oldPages * PAGE_BYTES, newLengthBytes: newPages * PAGE_BYTES };
  const place = {
    address: address(from),
    mayMove,
    to: to === undefined ? undefined : address(to),
    keepOld,
  };
  const request: MremapRequest = { ...lengths, ...place };
  return onStage({
    name: `mremap-${name}`,
    summary,
    wanted,
    setup,
    runs: ["mm/calls/mremap.doMremap"],
    act: ({ machine, mm }) => doMremap(machine, mm, request),
  });
}

export const remaps: readonly Attempt<Stage>[] = [
  mremaps("grow", "A buffer's mapping grows where it is.", {
    from: BUFFER,
    oldPages: 2,
    newPages: 3,
    mayMove: false,
    wanted: changed({ buffer: "6-9 rw buffer: 106 0 x" }),
  }),
  mremaps("grow-shared", "A shared mapping grows where it is, past the end of what is shared.", {
    from: ELSEWHERE,
    oldPages: 1,
    newPages: 2,
    mayMove: false,
    setup: stageWith((harness) => harness.map(HARNESS_PAGE + ELSEWHERE, 1, RW, true)),
    wanted: changed({}, "4096-4098 rw shared: 0 x"),
  }),
  mremaps("across", "A mapping moves to where two page tables are needed for it.", {
    from: PRIVATE,
    oldPages: 4,
    newPages: 4,
    to: ACROSS,
    wanted: changed({ private: "" }, "4542-4546 rw: 100 101 102 0"),
  }),
  mremaps("beside", "A page moves to the end of a mapping of its kind, and the two become one.", {
    from: PRIVATE + 1,
    oldPages: 1,
    newPages: 1,
    to: UNTOUCHED + 3,
    wanted: changed({
      private: "0-1 rw: 100, 2-4 rw: 102 0",
      untouched: "1024-1028 rw: 0 0 0 101",
    }),
  }),
  mremaps("grow-and-move", "A mapping grows, for which it must move.", {
    from: PRIVATE,
    oldPages: 4,
    newPages: 6,
    wanted: `-48--42 rw: 100 101 102 0 0 0, ${changed({ private: "" })}`,
  }),
  mremaps("middle", "The middle of a mapping moves to where no page table is.", {
    from: PRIVATE + 1,
    oldPages: 2,
    newPages: 2,
    to: FAR,
    wanted: changed({ private: "0-1 rw: 100, 3-4 rw: 0" }, "1048576-1048578 rw: 101 102"),
  }),
  mremaps("leaf", "A page table moves as a whole to where no page table is.", {
    from: BLOCK,
    oldPages: LEAF_WORDS,
    newPages: LEAF_WORDS,
    to: FAR_BLOCK,
    setup: stageWith((harness) => {
      harness.map(HARNESS_PAGE + BLOCK, LEAF_WORDS);
      harness.run(cpuFault(harness.machine, harness.mm, HARNESS_PAGE + BLOCK, true));
    }),
    wanted: changed(
      {},
      `${FAR_BLOCK}-${FAR_BLOCK + LEAF_WORDS} rw: ${Array.from({ length: LEAF_WORDS }, () => "0").join(" ")}`,
    ),
  }),
  mremaps("over", "A page moves into the middle of another mapping.", {
    from: SHARED,
    oldPages: 1,
    newPages: 1,
    to: PRIVATE + 1,
    wanted: changed({
      private: "0-1 rw: 100, 1-2 rw shared: 104, 2-4 rw: 102 0",
      shared: "5-6 rw shared: 0",
    }),
  }),
  mremaps(
    "over-untouched",
    "A page moves into the middle of a mapping that has no page table yet.",
    {
      from: SHARED,
      oldPages: 1,
      newPages: 1,
      to: UNTOUCHED + 1,
      wanted: changed({
        shared: "5-6 rw shared: 0",
        untouched: "1024-1025 rw: 0, 1025-1026 rw shared: 104, 1026-1027 rw: 0",
      }),
    },
  ),
  mremaps("shrink", "A part of a mapping is cut off where it is.", {
    from: PRIVATE,
    oldPages: 3,
    newPages: 1,
    wanted: changed({ private: "0-1 rw: 100, 3-4 rw: 0" }),
  }),
  mremaps("shrink-and-move", "A part of a mapping moves, and another part is cut off.", {
    from: PRIVATE,
    oldPages: 3,
    newPages: 2,
    to: ELSEWHERE,
    wanted: changed({ private: "3-4 rw: 0" }, "4096-4098 rw: 100 101"),
  }),
  mremaps(
    "shrink-over-border",
    "A part of a mapping moves. The rest of it is unmapped, and a part of the next one.",
    {
      from: PRIVATE,
      oldPages: 5,
      newPages: 2,
      to: ELSEWHERE,
      wanted: changed({ private: "", shared: "5-6 rw shared: 0" }, "4096-4098 rw: 100 101"),
    },
  ),
  mremaps("keep-old", "Private memory moves, and its mapping stays.", {
    from: PRIVATE,
    oldPages: 4,
    newPages: 4,
    keepOld: true,
    wanted: `-48--44 rw: 100 101 102 0, ${changed({ private: "0-4 rw: 0 0 0 0" })}`,
  }),
  mremaps("keep-old-shared", "Shared memory moves, and its mapping stays.", {
    from: SHARED,
    oldPages: 2,
    newPages: 2,
    to: ELSEWHERE,
    keepOld: true,
    wanted: changed({}, "4096-4098 rw shared: 104 0"),
  }),
  mremaps("double", "Shared memory is mapped a second time.", {
    from: SHARED,
    oldPages: 0,
    newPages: 2,
    wanted: `-48--46 rw shared: 104 0, ${changed({})}`,
  }),
  mremaps("double-buffer", "A buffer is mapped a second time.", {
    from: BUFFER,
    oldPages: 0,
    newPages: 2,
    to: FAR,
    wanted: changed({}, "1048576-1048578 rw buffer: 106 0"),
  }),
  mremaps("all", "Three mappings, two of them in part, move at once.", {
    from: PRIVATE + 1,
    oldPages: 6,
    newPages: 6,
    to: ELSEWHERE,
    wanted: changed(
      { private: "0-1 rw: 100", shared: "", buffer: "7-8 rw buffer: 0" },
      "4096-4099 rw: 101 102 0, 4099-4101 rw shared: 104 0, 4101-4102 rw buffer: 106",
    ),
  }),
  mremaps("keep-all", "Three mappings move at once, and stay.", {
    from: PRIVATE,
    oldPages: 8,
    newPages: 8,
    to: ELSEWHERE,
    keepOld: true,
    wanted: changed(
      { private: "0-4 rw: 0 0 0 0" },
      "4096-4100 rw: 100 101 102 0, 4100-4102 rw shared: 104 0, 4102-4104 rw buffer: 106 0",
    ),
  }),
];

export const movesWithoutMemory: readonly Covered[] = remaps.map((attempt) => attempted(attempt));

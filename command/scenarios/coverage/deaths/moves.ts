/**
 * @module A thread that dies while it moves a mapping, at any step of mremap: the mapping is at its
 * old place with all its pages, or at the new one with all of them, and nothing is lost. What is at
 * neither place for a moment is put there by whoever finds the thread dead (K7 of
 * mm/entries/move.ts). In the twins nobody knows that entries follow their mapping.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import { doMremap } from "../../../../src/mm/calls/mremap.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { mmapWriteLock } from "../../../../src/mm/migration.ts";
import { type MoveNotes, moveEntries } from "../../../../src/mm/entries/moved-entries.ts";
import { PAGE_BYTES, holdsFrame, ptePfn } from "../../../../src/mm/pte.ts";
import { relocateVma } from "../../../../src/mm/vma/vma-link.ts";
import { splitAtBoth } from "../../../../src/mm/vma/vma-map.ts";
import { endVmaChange } from "../../../../src/mm/vma/vma-tree.ts";
import { type PageRange, vmaAt, vmaOf } from "../../../../src/mm/vma/vma.ts";
import { LEAF_WORDS, leafOf } from "../../../../src/mmu/radix-table.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";
import { ONE_STORE_OPS } from "./told-device.ts";

/** What moves where. */
interface Way {
  readonly old: PageRange;
  readonly target: number;
}

interface World extends Way {
  /** Of each page that had a frame at the beginning, from `old.startPage` on: its frame. */
  readonly frames: readonly number[];
  /** Tables of 512 words that are no leaves of the space. */
  readonly otherTables: number;
}

type Body = HarnessBody<World>;

function tables({ machine }: HmmHarness): number {
  return machine.heap.accounting().find(({ name }) => name === "words512")?.live ?? 0;
}

/** Leaves among the blocks that the scenarios use. */
function leaves({ machine, mm }: HmmHarness): number {
  let count = 0;
  for (let block = 0; block < BLOCKS; block++)
    if (leafOf(machine.memory, mm.pgd, block * LEAF_WORDS) !== 0) count++;
  return count;
}

const BLOCKS = 8;

/** The mappings are in order, and only mapped pages have entries: those of the frames they had. */
function check(world: World, harness: HmmHarness): void {
  const { machine, mm } = harness;
  const { memory, ram } = machine;
  assert(memory.words[mm.mmapLock.at] === 0, "somebody still holds the lock");
  const isMapped = new Set<number>();
  let endPage = 0;
  for (let vma = vmaAt(memory, mm.vmaFirst); vma !== undefined; vma = vmaAt(memory, vma.next)) {
    assert(vma.startPage >= endPage && vma.endPage > vma.startPage, "mappings overlap");
    ({ endPage } = vma);
    for (let page = vma.startPage; page < endPage; page++) isMapped.add(page);
  }
  assert(isMapped.size === mm.mappedPages, `${mm.mappedPages} pages are counted`);
  let entries = 0;
  for (let page = 0; page < BLOCKS * LEAF_WORDS; page++) {
    const pte = harness.entryOf(page);
    if (pte === 0) continue;
    assert(isMapped.has(page), `page ${page} has an entry, and is not mapped`);
    if (holdsFrame(pte)) entries++;
  }
  requireMoved(world, harness);
  const { references } = ram.refs.total();
  const { usedPages } = ram.usage();
  assert(
    references === entries && usedPages === entries,
    `${references} references of ${usedPages} frames, in ${entries} entries`,
  );
  const lost = tables(harness) - leaves(harness) - world.otherTables;
  assert(lost === 0, `${lost} page tables are allocated, and linked nowhere`);
}

/** What has moved is at its new place with all its frames; else at the old one. */
function requireMoved({ old, target, frames }: World, harness: HmmHarness): void {
  const { machine, mm } = harness;
  const hasMoved = vmaOf(machine.memory, mm, target) !== undefined;
  const firstPage = hasMoved ? target : old.startPage;
  for (const [i, frame] of frames.entries()) {
    const pte = harness.entryOf(firstPage + i);
    assert(
      frame === 0 || ptePfn(pte) === frame,
      `page ${firstPage + i} has lost its frame ${frame}`,
    );
  }
}

function worldOf(harness: HmmHarness, way: Way): World {
  const { startPage, endPage } = way.old;
  const frames = Array.from({ length: endPage - startPage }, (_, i) => {
    const pte = harness.entryOf(startPage + i);
    return holdsFrame(pte) ? ptePfn(pte) : 0;
  });
  return { ...way, frames, otherTables: tables(harness) - leaves(harness) };
}

const move: Body = ({ old, target }, { machine, mm }) =>
  doMremap(machine, mm, {
    address: old.startPage * PAGE_BYTES,
    oldLengthBytes: (old.endPage - old.startPage) * PAGE_BYTES,
    newLengthBytes: (old.endPage - old.startPage) * PAGE_BYTES,
    mayMove: true,
    to: target * PAGE_BYTES,
  });

/** Words for notes that nobody looks at. */
function* scratch({ machine }: HmmHarness): Task<MoveNotes> {
  const at = yield* machine.heap.allocWords(LEAF_WORDS);
  const leafNotes = { from: at + 2, start: at + 3, end: at + 19 };
  return { entry: at, place: at + 1, leaves: leafNotes };
}

const moveUnnoted: Body = function* ({ old, target }, harness) {
  const { machine, mm } = harness;
  const notes = yield* scratch(harness);
  yield* mmapWriteLock(machine, mm);
  yield* splitAtBoth(machine, mm, old);
  const vma = vmaOf(machine.memory, mm, old.startPage);
  if (vma !== undefined) {
    const place = { startPage: target, endPage: target + old.endPage - old.startPage };
    relocateVma(machine, mm, vma, place);
    endVmaChange(machine.memory, mm);
    yield* moveEntries(machine, mm, { ...old, target, takesLeaves: true }, notes);
  }
  yield* mm.mmapLock.upWrite();
};

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly pages: number;
  readonly way: Way;
  readonly setup: (harness: HmmHarness) => void;
  readonly runs: readonly string[];
}

function moving({ name, summary, pages, way, setup, runs }: Parts): Covered {
  return coveringOnHarness<World>({
    layer: "mm",
    name: `death/${name}`,
    summary,
    harness: { pages, arenaWords: 8192 },
    exploration: { engine: "bounded", preemptions: 1, deaths: 1 },
    killable: ["moves"],
    mustSurvive: true,
    mayRemain: "anything",
    setup(harness) {
      setup(harness);
      return worldOf(harness, way);
    },
    tasks: {
      moves: [runs, move],
      touch: [
        ["mm/fault/cpu-fault.cpuFault"],
        (_world, { machine, mm }) => cpuFault(machine, mm, way.old.endPage, true),
      ],
    },
    check,
    twins: [["unnoted", "Nobody knows that entries follow.", "assertion", { moves: moveUnnoted }]],
  });
}

/** A block of 2 MiB, mapped as a whole, and the page behind it. */
const BLOCK: number = 2 * LEAF_WORDS;

export const deathsInMoves: readonly Covered[] = [
  moving({
    name: "mremap",
    summary:
      "A thread dies at any step of a move of the middle of a mapping, while another touches a page behind it.",
    pages: 4,
    way: {
      old: { startPage: HARNESS_PAGE + 1, endPage: HARNESS_PAGE + 3 },
      target: HARNESS_PAGE + 16,
    },
    setup: () => undefined,
    runs: ["mm/calls/move-mappings.moveMappings", "mm/entries/moved-entries.finishMove"],
  }),
  moving({
    name: "mremap-of-leaf",
    summary:
      "A thread dies at any step of a move of a whole page table, while another touches a page behind it.",
    pages: 0,
    way: { old: { startPage: BLOCK, endPage: BLOCK + LEAF_WORDS }, target: BLOCK + 3 * LEAF_WORDS },
    setup(harness) {
      harness.map(BLOCK, LEAF_WORDS + 1);
      harness.run(cpuFault(harness.machine, harness.mm, BLOCK + 1, true));
    },
    runs: ["mmu/unlinked-leaves.moveLeaves", "mmu/unlinked-leaves.linkNoted"],
  }),
  moving({
    name: "mremap-told",
    summary:
      "A thread dies at any step of a move of which a device is told, while another touches a page behind it.",
    pages: 3,
    way: {
      old: { startPage: HARNESS_PAGE, endPage: HARNESS_PAGE + 2 },
      target: HARNESS_PAGE + 16,
    },
    setup: (harness) => void HarnessDevice.registered(harness, ONE_STORE_OPS),
    runs: ["mm/calls/move-mappings.moveMappings", "notifier/mmu-notifier.finishNotice"],
  }),
];

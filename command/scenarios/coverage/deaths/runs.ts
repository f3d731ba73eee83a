/**
 * @module A thread that dies while it opens or closes a view whose pages have to move into frames
 * in a row: what it has taken of the row is noted frame by frame, until a page has it
 * (`takeNotedRun` of mm/entries/run.ts). In the twins it is noted nowhere.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { mmapWriteLock } from "../../../../src/mm/migration.ts";
import { holdsFrame } from "../../../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { PageCache, cacheEntryAt } from "../../../../src/mm/vma/page-cache.ts";
import { VM_READ, VM_SHARED, VM_WRITE, type Vma, vmaOf } from "../../../../src/mm/vma/vma.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";

interface World {
  readonly pages: number;
  /** Frames of the machine that are not of these pages. */
  readonly otherFrames: number;
}

type Body = HarnessBody<World>;

const vmaIn = ({ machine, mm }: HmmHarness): Vma =>
  vmaOf(machine.memory, mm, HARNESS_PAGE) ?? bug("nothing is mapped");

/** Frames that entries, or the cache, have, and references of them. */
function named(harness: HmmHarness, pages: number): { frames: number; references: number } {
  const { memory } = harness.machine;
  const vma = vmaIn(harness);
  const isShared = (vma.flags & VM_SHARED) !== 0;
  let frames = 0;
  let references = 0;
  for (let i = 0; i < pages; i++) {
    const isMapped = holdsFrame(harness.entryOf(HARNESS_PAGE + i));
    const isCached = isShared && cacheEntryAt(memory, PageCache.at(memory, vma.source), i) !== 0;
    references += (isMapped ? 1 : 0) + (isCached ? 1 : 0);
    if (isMapped || isCached) frames++;
  }
  return { frames, references };
}

/** Whoever takes the lock for writing ends a migration that is left. */
const endLeft: Body = function* (_world, { machine, mm }) {
  yield* mmapWriteLock(machine, mm);
  yield* mm.mmapLock.upWrite();
};

/** Nothing is lost. */
function check({ pages, otherFrames }: World, harness: HmmHarness): void {
  const { machine, mm } = harness;
  if (!mm.moving.isEmpty()) return; // nobody has come since the death
  assert(mm.users.read() === 1, `the space has ${mm.users.read()} users`);
  const { references, pins } = machine.ram.refs.total();
  const { frames, references: ours } = named(harness, pages);
  const used = machine.ram.usage().usedPages - otherFrames;
  assert(pins === 0, `${pins} pins are left`);
  assert(used === frames, `${used} frames are in use, and ${frames} are named`);
  assert(references === ours + otherFrames, `${references} references of ${frames} frames`);
}

const view: Body = function* ({ pages }, { machine, mm }) {
  const at = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + pages, true);
  assert(at > 0, `the view answered ${at}`);
  yield* viewClose(machine, at);
};

/** Takes a row, and gives it back. */
const rowUnnoted: Body = function* ({ pages }, { machine, mm }) {
  yield* mmapWriteLock(machine, mm);
  const pfn = yield* machine.ram.allocRun(pages, true);
  yield* machine.ram.refs.putRun(pfn, pages);
  yield* mm.mmapLock.upWrite();
};

function moving(
  name: string,
  summary: string,
  pages: number,
  isShared: boolean,
  runs: readonly string[],
): Covered {
  return coveringOnHarness<World>({
    layer: "mm",
    name: `death/${name}`,
    summary,
    harness: { pages: 0, arenaWords: 8192, frames: 40 },
    exploration: { engine: "bounded", preemptions: 0, deaths: 1 },
    killable: ["dies"],
    // Who dies with the lock of a page cache stops the machine.
    mustSurvive: !isShared,
    mayRemain: "anything",
    setup(harness) {
      const { machine, mm } = harness;
      harness.map(HARNESS_PAGE, pages, VM_READ | VM_WRITE, isShared);
      for (let i = pages - 1; i >= 0; i--)
        harness.run(cpuFault(machine, mm, HARNESS_PAGE + i, true));
      const otherFrames = machine.ram.usage().usedPages - named(harness, pages).frames;
      return { pages, otherFrames };
    },
    tasks: { dies: [runs, view], next: [["mm/migration.mmapWriteLock"], endLeft] },
    check,
    twins: [
      ["unnoted", "It notes nowhere which frames it takes.", "assertion", { dies: rowUnnoted }],
    ],
  });
}

export const deathsWithRuns: readonly Covered[] = [
  moving(
    "view-of-scattered",
    "A thread dies at any step of a view of 18 pages that have to move, or of its end.",
    18,
    false,
    ["mm/migrate/migrate-to-run.migrateToRun", "mm/entries/run.takeNotedRun"],
  ),
  moving(
    "view-of-shared",
    "A thread dies at any step of a view of shared pages that have to move, or of its end: nothing is lost, or the machine stops.",
    3,
    true,
    ["mm/migrate/migrate-to-run.moveCached", "mm/vma/page-cache.cacheMove"],
  ),
];

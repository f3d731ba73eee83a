/**
 * @module A thread that dies while it opens or closes a view whose pages have to move into frames
 * in a row: what it has taken of the row is noted, some frames one by one, until a page has each,
 * and the others together (`takeNotedRun` of mm/entries/run.ts). In the twins it is noted nowhere,
 * or those are not that come later.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { beginHand, endInvalidation } from "../../../../src/mm/entries/invalidation.ts";
import { BATCH_FEW } from "../../../../src/mm/entries/batch.ts";
import { noteNext, putNotedRun, takeNotedRun } from "../../../../src/mm/entries/run.ts";
import { RUN } from "../../../../src/mm/entries/words.ts";
import { migrateToRun } from "../../../../src/mm/migrate/migrate-to-run.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { mmapWriteLock } from "../../../../src/mm/migration.ts";
import { holdsFrame } from "../../../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { PageCache, cacheEntryAt } from "../../../../src/mm/vma/page-cache.ts";
import { VM_READ, VM_SHARED, VM_WRITE, type Vma, vmaOf } from "../../../../src/mm/vma/vma.ts";
import { LEAF_WORDS } from "../../../../src/mmu/radix-table.ts";
import { deathsSoFar } from "../../../../src/sync/tasks/identity.ts";
import { EBUSY, ENOMEM } from "../../../../src/sync/errno.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";

interface World {
  readonly firstPage: number;
  readonly pages: number;
  /** Frames of the machine that are not of these pages. */
  readonly otherFrames: number;
  /** Migrations, tables and views that are allocated. */
  readonly objects: string;
}

type Body = HarnessBody<World>;

const vmaIn = ({ machine, mm }: HmmHarness, page: number): Vma =>
  vmaOf(machine.memory, mm, page) ?? bug("nothing is mapped");

/** Frames that entries, or the cache, have, and references of them. */
function named(
  harness: HmmHarness,
  { firstPage, pages }: Pick<World, "firstPage" | "pages">,
): { frames: number; references: number } {
  const { memory } = harness.machine;
  const vma = vmaIn(harness, firstPage);
  const isShared = (vma.flags & VM_SHARED) !== 0;
  let frames = 0;
  let references = 0;
  for (let i = 0; i < pages; i++) {
    const isMapped = holdsFrame(harness.entryOf(firstPage + i));
    const isCached = isShared && cacheEntryAt(memory, PageCache.at(memory, vma.source), i) !== 0;
    references += (isMapped ? 1 : 0) + (isCached ? 1 : 0);
    if (isMapped || isCached) frames++;
  }
  return { frames, references };
}

function objectsOf({ machine }: HmmHarness): string {
  const live = machine.heap.accounting().filter(({ name }) => COUNTED.test(name));
  return live.map((account) => `${account.live} ${account.name}`).join(", ");
}

const COUNTED = /^migration$|^viewHold$|^words/;

/** Whoever takes the lock for writing ends a migration that is left. */
const endLeft: Body = function* (_world, { machine, mm }) {
  yield* mmapWriteLock(machine, mm);
  yield* mm.mmapLock.upWrite();
};

/** Nothing is lost. */
function check(world: World, harness: HmmHarness): void {
  const { machine, mm } = harness;
  const { otherFrames } = world;
  const isLeft = !mm.moving.isEmpty();
  assert(!isLeft || deathsSoFar(machine.memory) > 0, "a migration is listed, and nobody has died");
  if (isLeft) return; // nobody has come since the death
  assert(mm.users.read() === 1, `the space has ${mm.users.read()} users`);
  const { references, pins } = machine.ram.refs.total();
  const { frames, references: ours } = named(harness, world);
  const used = machine.ram.usage().usedPages - otherFrames;
  assert(pins === 0, `${pins} pins are left`);
  assert(used === frames, `${used} frames are in use, and ${frames} are named`);
  assert(references === ours + otherFrames, `${references} references of ${frames} frames`);
  const objects = objectsOf(harness);
  assert(objects === world.objects, `${objects} are allocated, and were ${world.objects}`);
}

const view: Body = function* ({ firstPage, pages }, { machine, mm }) {
  const at = yield* viewOpen(machine, mm, firstPage, firstPage + pages, true);
  assert(at > 0, `the view answered ${at}`);
  yield* viewClose(machine, at);
};

/** The move alone. */
const move: Body = function* ({ firstPage, pages }, { machine, mm }) {
  yield* mmapWriteLock(machine, mm);
  const pfn = yield* migrateToRun(machine, mm, {
    startPage: firstPage,
    endPage: firstPage + pages,
  });
  assert(pfn > 0, `the move answered ${pfn}`);
  yield* mm.mmapLock.upWrite();
};

function row(pfn: number, pages: number): number[] {
  return Array.from({ length: pages }, (_, i) => pfn + i);
}

/** Takes a row, and gives it back. */
const rowUnnoted: Body = function* ({ pages }, { machine, mm }) {
  yield* mmapWriteLock(machine, mm);
  const pfn = yield* machine.ram.allocRun(pages, true);
  yield* machine.ram.refs.pagePutAll(row(pfn, pages));
  yield* mm.mmapLock.upWrite();
};

/** The same of a noted row, of which it forgets all but the first half. */
const restUnnoted: Body = function* ({ pages }, { machine, mm }) {
  const half = pages >> 1;
  yield* mmapWriteLock(machine, mm);
  const operation = yield* beginHand(mm);
  const { pfn, batch } = yield* takeNotedRun(machine, operation, pages);
  noteNext(machine.memory, operation, batch, half);
  machine.memory.words[operation + RUN] = 0;
  yield* putNotedRun(machine, operation);
  yield* machine.ram.refs.pagePutAll(row(pfn + half, pages - half));
  endInvalidation(mm, operation);
  yield* mm.mmapLock.upWrite();
};

/** The same, in a shortage of memory: then nothing has changed, and it is tried again. */
const moveInShortage: Body = function* (world, harness) {
  const { machine, mm } = harness;
  const range = { startPage: world.firstPage, endPage: world.firstPage + world.pages };
  yield* mmapWriteLock(machine, mm);
  let pfn = yield* migrateToRun(machine, mm, range);
  assert(pfn > 0 || pfn === ENOMEM, `the move answered ${pfn}`);
  yield* harness.shortage.end();
  if (pfn < 0) pfn = yield* migrateToRun(machine, mm, range);
  assert(pfn > 0, `the move answered ${pfn} when there was memory`);
  yield* mm.mmapLock.upWrite();
};

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly firstPage?: number;
  readonly pages: number;
  readonly isShared: boolean;
  readonly runs: readonly string[];
  /** Default: `view`. */
  readonly body?: Body;
}

function moving(parts: Parts): Covered {
  const { name, summary, firstPage = HARNESS_PAGE, pages, isShared, runs } = parts;
  const { body = view } = parts;
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
      harness.map(firstPage, pages, VM_READ | VM_WRITE, isShared);
      for (let i = pages - 1; i >= 0; i--) harness.run(cpuFault(machine, mm, firstPage + i, true));
      const range = { firstPage, pages };
      return {
        ...range,
        objects: objectsOf(harness),
        otherFrames: machine.ram.usage().usedPages - named(harness, range).frames,
      };
    },
    tasks: { dies: [runs, body], next: [["mm/migration.mmapWriteLock"], endLeft] },
    check,
    twins: [
      ["unnoted", "It notes nowhere which frames it takes.", "assertion", { dies: rowUnnoted }],
      [
        "rest-unnoted",
        "It forgets the frames of the row that no page is about to take.",
        "assertion",
        { dies: restUnnoted },
      ],
    ],
  });
}

/** Seven pages, five of which are there; the others lie in a page table of their own. */
const inShortage: Covered = coveringOnHarness<World>({
  layer: "mm",
  name: "no-memory/row",
  summary: "Pages move into a row when memory is used up at any point.",
  harness: { pages: 0, arenaWords: 16_384, frames: 16, shortage: true },
  mayRemain: "anything",
  setup(harness) {
    const { machine, mm } = harness;
    const range = { firstPage: LEAF_WORDS - 5, pages: 7 };
    harness.map(range.firstPage, range.pages);
    for (let i = 4; i >= 0; i--) harness.run(cpuFault(machine, mm, range.firstPage + i, true));
    // One table more than there is now.
    const objects = objectsOf(harness).replace(
      /(\d+) words512/,
      (_, live) => `${+live + 1} words512`,
    );
    return { ...range, objects, otherFrames: 0 };
  },
  tasks: {
    moves: [["mm/migrate/migrate-to-run.migrateToRun"], moveInShortage],
    shortage: [[], (_world, harness) => harness.shortage.begin()],
  },
  check,
  twins: [],
});

/** Shared pages, of which another space has one: those before it move, and the rest does not. */
function busy(name: string, pages: number): Covered {
  return coveringOnHarness<undefined>({
    layer: "mm",
    name: `alone/${name}`,
    summary: `${pages} pages cannot move into a row, for another space has one of them.`,
    harness: { pages: 0, arenaWords: 16_384, frames: 40 },
    mayRemain: "anything",
    setup(harness) {
      const { machine, mm } = harness;
      harness.map(HARNESS_PAGE, pages, VM_READ | VM_WRITE, true);
      for (let i = pages - 1; i >= 0; i--)
        harness.run(cpuFault(machine, mm, HARNESS_PAGE + i, true));
      const child = Mm.at(machine.memory, harness.run(doFork(machine, mm)));
      harness.run(cpuFault(machine, child, HARNESS_PAGE + 3, true));
      return undefined;
    },
    tasks: {
      moves: [
        ["mm/migrate/migrate-to-run.moveCached", "mm/entries/run.putNotedRun"],
        function* (_none, harness) {
          const { machine, mm } = harness;
          const [before, { usedPages }] = [objectsOf(harness), machine.ram.usage()];
          yield* mmapWriteLock(machine, mm);
          const range = { startPage: HARNESS_PAGE, endPage: HARNESS_PAGE + pages };
          const answer = yield* migrateToRun(machine, mm, range);
          assert(answer === EBUSY, `the move answered ${answer}`);
          yield* mm.mmapLock.upWrite();
          const more = machine.ram.usage().usedPages - usedPages;
          assert(more === 0, `${more} frames more are used`);
          const after = objectsOf(harness);
          assert(after === before, `${after} are allocated, and were ${before}`);
        },
      ],
    },
    twins: [],
  });
}

export const deathsWithRuns: readonly Covered[] = [
  inShortage,
  busy("row-of-busy", BATCH_FEW + 2),
  busy("short-row-of-busy", 5),
  moving({
    name: "row-of-five",
    summary: "A thread dies at any step of a move of five pages into a row.",
    pages: 5,
    isShared: false,
    runs: ["mm/migrate/migrate-to-run.migrateToRun", "mm/migration-record.makeMigration"],
    body: move,
  }),
  moving({
    name: "view-of-scattered",
    summary: "A thread dies at any step of a view of 18 pages that have to move, or of its end.",
    pages: 18,
    isShared: false,
    runs: ["mm/migrate/migrate-to-run.migrateToRun", "mm/entries/run.takeNotedRun"],
  }),
  moving({
    name: "view-across-tables",
    summary:
      "A thread dies at any step of a view of pages of two page tables, which move in two turns, or of its end.",
    firstPage: LEAF_WORDS - 1,
    pages: 3,
    isShared: false,
    runs: ["mm/migrate/migrate-to-run.migrateToRun", "mm/entries/run.noteNext"],
  }),
  moving({
    name: "view-of-shared",
    summary:
      "A thread dies at any step of a view of shared pages that have to move, or of its end: nothing is lost, or the machine stops.",
    pages: 3,
    isShared: true,
    runs: ["mm/migrate/migrate-to-run.moveCached", "mm/vma/page-cache.cacheMove"],
  }),
];

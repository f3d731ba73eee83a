/**
 * @module A thread that dies at any point of forking, or of dropping the fork: the parent is as
 * good as before, and nothing is left of the child, however far it was made or taken down
 * (mm/lifetime/mm.ts). Without a list of what it has, a child that nobody knows stays behind; then
 * no frame can be written by both.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { Cell } from "../../../../src/checker/primitives/program.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { doFork, forkListed } from "../../../../src/mm/lifetime/fork.ts";
import { MM_USER, Mm } from "../../../../src/mm/mm-struct.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { allocVma, freeVma, spareOf } from "../../../../src/mm/vma/vma-link.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { PAGE_BYTES, PTE_PRESENT, PTE_WRITE, holdsFrame, ptePfn } from "../../../../src/mm/pte.ts";
import { atomicOr } from "../../../../src/sync/atomics.ts";
import { findResource, removeResource } from "../../../../src/sync/lockdep/resources.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";

interface World {
  /** The child, as soon as there is one that is not being dropped. */
  readonly child: Cell;
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;
type IsLeft = (harness: HmmHarness) => boolean;

function makeWorld(harness: HmmHarness): World {
  const at = harness.run(harness.machine.heap.allocWords(512));
  return { child: new Cell(harness.machine.memory, at, "child") };
}

function* fork({ child }: World, { machine }: HmmHarness, mm: Mm): Task<void> {
  const at = yield* doFork(machine, mm);
  assert(at > 0, `the fork answered ${at}`);
  yield* child.store(at);
}

/** Forks, and drops the fork. */
function* forkAndDrop(world: World, harness: HmmHarness): Task<void> {
  yield* fork(world, harness, harness.mm);
  const at = yield* world.child.load();
  yield* world.child.store(0);
  yield* mmput(harness.machine, Mm.at(harness.machine.memory, at));
}

function* write(_world: World, { machine, mm }: HmmHarness): Task<void> {
  yield* cpuFault(machine, mm, HARNESS_PAGE, true);
}

/** Gives a right to write back that the fork has taken, without asking who else has the frame. */
function* writeBlindly(_world: World, { machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  const index = pteIndex(leafOf(machine.memory, mm.pgd, HARNESS_PAGE), HARNESS_PAGE);
  yield* access(machine.memory, "update", index, 1, "pte");
  atomicOr(machine.memory.words, index, PTE_WRITE);
  yield* mm.mmapLock.upRead();
}

function check({ child }: World, harness: HmmHarness): void {
  const { machine, mm } = harness;
  assert(mm.users.read() === 1, `the parent has ${mm.users.read()} users`);
  const own = harness.entryOf(HARNESS_PAGE);
  assert((own & PTE_PRESENT) !== 0, "the parent has lost its page");
  if (child.peek() === 0) return;
  const other = harness.entryOf(HARNESS_PAGE, Mm.at(machine.memory, child.peek()));
  const areShared = (other & PTE_PRESENT) !== 0 && ptePfn(other) === ptePfn(own);
  assert(!areShared || ((own | other) & PTE_WRITE) === 0, "a frame that both have can be written");
}

/** As `forkAndDrop`; the child is a resource of the thread all the time. */
function* forkListedAndDrop(_world: World, { machine, mm }: HmmHarness): Task<void> {
  const at = yield* forkListed(machine, mm);
  assert(at > 0, `the fork answered ${at}`);
  const slot = findResource(machine.memory, MM_USER, at);
  yield* mmput(machine, Mm.at(machine.memory, at), slot);
}

/** Drops the fork without its slot: who dies before the put leaves it, and after that its user. */
function* forkAndForget(_world: World, { machine, mm }: HmmHarness): Task<void> {
  const at = yield* forkListed(machine, mm);
  removeResource(machine.memory, findResource(machine.memory, MM_USER, at));
  yield* mmput(machine, Mm.at(machine.memory, at));
}

/** The parent has its page, and nothing else is alive. */
function checkNothingLeft(_world: World, harness: HmmHarness): void {
  const { machine, mm } = harness;
  assert(mm.users.read() === 1, `the parent has ${mm.users.read()} users`);
  assert(machine.memory.words[mm.mmapLock.at] === 0, "somebody still holds the lock");
  assert(holdsFrame(harness.entryOf(HARNESS_PAGE)), "the parent has lost its page");
  const { usedPages } = machine.ram.usage();
  assert(usedPages === 1, `${usedPages} frames are in use, and 1 is mapped`);
  const spaces = live(harness, "mm");
  assert(spaces === 1, `${spaces} spaces are alive, and 1 is known`);
  const vmas = live(harness, "vma");
  assert(vmas === mm.vmaCount, `${vmas} vmas are alive, and ${mm.vmaCount} are known`);
}

/** Has a vma that is no resource of the thread, as one that is linked without the child's lock. */
function* forkWithSpare(world: World, harness: HmmHarness): Task<void> {
  const { machine } = harness;
  const spare = spareOf(machine, yield* allocVma(machine));
  removeResource(machine.memory, spare.slot);
  yield* forkListedAndDrop(world, harness);
  yield* freeVma(machine, { at: spare.at, slot: -1 });
}

function listed(name: string, summary: string, body: Body, isTwin: boolean): AnyScenario {
  return harnessScenario<World>({
    name: `coverage/mm/death/${name}`,
    summary,
    exploration: { deaths: 1, engine: "bounded", preemptions: 1 },
    ...(isTwin ? { expects: "assertion" as const } : {}),
    killable: ["fork"],
    mustSurvive: true,
    harness: { pages: 1, arenaWords: 8192 },
    setup: makeWorld,
    tasks: { fork: body, write },
    check: checkNothingLeft,
  });
}

const forkIsListed: Covered = {
  layer: "mm",
  scenario: listed(
    "fork-listed",
    "A thread dies at any step of a fork, or of the end of the child, while another one writes: nothing is left.",
    forkListedAndDrop,
    false,
  ),
  twins: [
    listed("fork-listed/forgotten", "The child is taken off the list first.", forkAndForget, true),
    listed("fork-listed/spare", "A vma is noted nowhere.", forkWithSpare, true),
  ],
  runs: {
    fork: ["mm/lifetime/fork.forkListed", "mm/lifetime/mm.mmExit", "sync/death/reaper.reapTask"],
    write: ["mm/fault/cpu-fault.cpuFault"],
  },
};

/** Holds the space's lock for a while. */
function* hold(_world: World, { mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downWrite();
  yield* mm.mmapLock.upWrite();
}

function* mapShared(_world: World, { machine, mm }: HmmHarness): Task<void> {
  const place = {
    address: (HARNESS_PAGE + 1) * PAGE_BYTES,
    lengthBytes: PAGE_BYTES,
    placement: MAP_FIXED_NOREPLACE,
  };
  const kind = { protection: VM_READ | VM_WRITE, shared: true, bufferPfn: 0, offsetPages: 0 };
  yield* doMmap(machine, mm, { ...place, ...kind });
}

/** Whoever dies while it waits for the lock has made nothing yet: nothing is left of it. */
function waiting(
  name: string,
  summary: string,
  task: Body,
  runs: readonly string[],
  isLeft: IsLeft,
): Covered {
  const scenario = harnessScenario<World>({
    name: `coverage/mm/death/${name}`,
    summary,
    exploration: { deaths: 1, engine: "bounded", preemptions: 2 },
    killable: ["waits"],
    harness: { pages: 1, arenaWords: 8192 },
    setup: makeWorld,
    tasks: { waits: task, hold },
    check: (_world, harness) =>
      assert(!isLeft(harness), "something is left of a call that was never made"),
  });
  return { layer: "mm", scenario, twins: [], runs: { waits: runs, hold: [] } };
}

const live = ({ machine }: HmmHarness, name: string): number =>
  machine.heap.accounting().find((account) => account.name === name)?.live ?? 0;

const forkWaits: Covered = waiting(
  "fork-waits",
  "A thread dies while it waits for the lock under which it would fork.",
  (world, harness) => fork(world, harness, harness.mm),
  ["mm/lifetime/fork.doFork"],
  // The parent's page can be written as long as nobody has forked.
  (harness) => (harness.entryOf(HARNESS_PAGE) & PTE_WRITE) !== 0 && live(harness, "mm") > 1,
);

const mmapWaits: Covered = waiting(
  "mmap-waits",
  "A thread dies while it waits for the lock under which it would map shared memory.",
  mapShared,
  ["mm/calls/mmap.doMmap"],
  (harness) => harness.mm.vmaCount === 1 && live(harness, "pageCache") > 0,
);

function* openAndClose(_world: World, { machine, mm }: HmmHarness): Task<void> {
  const view = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true);
  assert(view > 0, `the view answered ${view}`);
  yield* viewClose(machine, view);
}

const closeWaits: Covered = waiting(
  "view-close-waits",
  "A thread dies while it waits for the lock under which it would open or close a view: the reaper closes it.",
  openAndClose,
  ["mm/view/view-open.viewOpen", "mm/view/view-open.viewClose"],
  ({ mm }) => !mm.holds.isEmpty(),
);

export const deathsInForks: readonly Covered[] = [
  {
    layer: "mm",
    scenario: harnessScenario<World>({
      name: "coverage/mm/death/fork-vs-write",
      summary:
        "A thread dies at any point of forking a space and dropping the fork, while another one writes.",
      exploration: { deaths: 1, engine: "bounded", preemptions: 2 },
      killable: ["fork"],
      harness: { pages: 1, arenaWords: 8192 },
      setup: makeWorld,
      tasks: { fork: forkAndDrop, write },
      check,
    }),
    twins: [
      harnessScenario<World>({
        name: "coverage/mm/death/fork-vs-write/blind",
        summary: "The writer makes its entry writable without asking who else has the frame.",
        expects: "assertion",
        exploration: { deaths: 1, engine: "bounded", preemptions: 2 },
        killable: ["fork"],
        harness: { pages: 1, arenaWords: 8192 },
        setup: makeWorld,
        tasks: { fork: forkAndDrop, write: writeBlindly },
        check,
      }),
    ],
    runs: {
      fork: ["mm/lifetime/fork.doFork", "mm/lifetime/mm.mmput"],
      write: ["mm/fault/cpu-fault.cpuFault"],
    },
  },
  forkIsListed,
  forkWaits,
  mmapWaits,
  closeWaits,
];

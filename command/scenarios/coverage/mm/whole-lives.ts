/**
 * @module One thread alone with a space, from the first mapping to the exit. After each call the
 * mappings, the entries and the frames are checked. This finds steps that are missing or come too
 * early, for which no second thread is needed.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { MADV_DONTNEED, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import {
  MAP_ANYWHERE,
  MAP_FIXED_NOREPLACE,
  MAP_FIXED_REPLACE,
  doMmap,
} from "../../../../src/mm/calls/mmap.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { doMprotect } from "../../../../src/mm/calls/mprotect.ts";
import { doMremap } from "../../../../src/mm/calls/mremap.ts";
import { PAGE_BYTES, PTE_PRESENT, PTE_WRITE, ptePfn } from "../../../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { VM_READ, VM_SHARED, VM_WRITE, vmasIn } from "../../../../src/mm/vma/vma.ts";
import { notifierSrcu } from "../../../../src/notifier/mmu-notifier.ts";
import { EBUSY, EEXIST, EFAULT } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { listedResources } from "../../../../src/sync/lockdep/resources.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";

const RW: number = VM_READ | VM_WRITE;
const END = HARNESS_PAGE + 2048;

/** Mappings as `0-4 rw, 8-9 r shared`, by pages from HARNESS_PAGE on. */
function mappings({ machine }: HmmHarness, mm: Mm): string {
  const all = [...vmasIn(machine.memory, mm, 0, END)].map(({ startPage, endPage, flags }) => {
    const rights = `${(flags & VM_READ) === 0 ? "" : "r"}${(flags & VM_WRITE) === 0 ? "" : "w"}`;
    return `${startPage - HARNESS_PAGE}-${endPage - HARNESS_PAGE} ${rights}${(flags & VM_SHARED) === 0 ? "" : " shared"}`;
  });
  return all.join(", ");
}

/** Entries of pages 0 to 9: w writable, r present, n another kind, - none. */
function entries(harness: HmmHarness, mm: Mm): string {
  const marks = Array.from({ length: 10 }, (_, i) => {
    const pte = harness.entryOf(HARNESS_PAGE + i, mm);
    if (pte === 0) return "-";
    if ((pte & PTE_PRESENT) === 0) return "n";
    return (pte & PTE_WRITE) === 0 ? "r" : "w";
  });
  return marks.join("");
}

/** The state after a call. */
interface State {
  readonly mappings?: string;
  readonly entries?: string;
  readonly frames?: number;
}

class Life {
  readonly harness: HmmHarness;
  readonly mm: Mm;

  constructor(harness: HmmHarness, mm: Mm = harness.mm) {
    this.harness = harness;
    this.mm = mm;
  }

  /** Makes the call and checks the state. */
  *step(what: string, call: Task<number>, answer: number, state: State = {}): Task<void> {
    const given = yield* call;
    assert(given === answer, `${what} answered ${given}, not ${answer}`);
    this.require(what, state);
  }

  require(what: string, state: State): void {
    const { harness, mm } = this;
    const is = {
      mappings: mappings(harness, mm),
      entries: entries(harness, mm),
      frames: harness.machine.ram.usage().usedPages,
    };
    for (const key of ["mappings", "entries", "frames"] as const) {
      const wanted = state[key];
      assert(
        wanted === undefined || is[key] === wanted,
        `after ${what}, ${key}: ${is[key]}; must be ${wanted}`,
      );
    }
  }

  pfn(page: number): number {
    return ptePfn(this.harness.entryOf(HARNESS_PAGE + page, this.mm));
  }

  map(
    page: number,
    pages: number,
    options: { readonly shared?: boolean; readonly placement?: number } = {},
  ): Task<number> {
    const { shared = false, placement = MAP_FIXED_NOREPLACE } = options;
    const place = { lengthBytes: pages * PAGE_BYTES, address: address(page), placement };
    return doMmap(this.harness.machine, this.mm, {
      ...place,
      protection: RW,
      shared,
      bufferPfn: 0,
      offsetPages: 0,
    });
  }

  unmap(page: number, pages: number): Task<number> {
    return doMunmap(this.harness.machine, this.mm, address(page), pages * PAGE_BYTES);
  }

  protect(page: number, pages: number, protection: number): Task<number> {
    return doMprotect(this.harness.machine, this.mm, address(page), pages * PAGE_BYTES, protection);
  }

  discard(page: number, pages: number): Task<number> {
    return doMadvise(
      this.harness.machine,
      this.mm,
      address(page),
      pages * PAGE_BYTES,
      MADV_DONTNEED,
    );
  }

  touch(page: number, isWrite: boolean = true): Task<number> {
    return cpuFault(this.harness.machine, this.mm, HARNESS_PAGE + page, isWrite);
  }

  remap(page: number, oldPages: number, newPages: number, to?: number): Task<number> {
    const lengths = {
      oldLengthBytes: oldPages * PAGE_BYTES,
      newLengthBytes: newPages * PAGE_BYTES,
    };
    const target = to === undefined ? undefined : address(to);
    return doMremap(this.harness.machine, this.mm, {
      address: address(page),
      ...lengths,
      mayMove: to !== undefined,
      to: target,
    });
  }
}

function address(page: number): number {
  return (HARNESS_PAGE + page) * PAGE_BYTES;
}

/** Mappings are split, merged, replaced, and unmapped in the middle. */
function* mapAndSplit(harness: HmmHarness): Task<void> {
  const life = new Life(harness);
  yield* life.step("mmap", life.map(0, 6), address(0), {
    mappings: "0-6 rw",
    entries: "----------",
    frames: 0,
  });
  for (const page of [0, 1, 2, 3, 4, 5]) yield* life.step("a write", life.touch(page), 0);
  life.require("six writes", { entries: "wwwwww----", frames: 6 });
  yield* life.step("mmap where something is", life.map(5, 2), EEXIST, { mappings: "0-6 rw" });
  yield* life.step("mmap shared where something is", life.map(5, 2, { shared: true }), EEXIST, {
    mappings: "0-6 rw",
  });
  yield* life.step("mprotect", life.protect(1, 2, VM_READ), 0, {
    mappings: "0-1 rw, 1-3 r, 3-6 rw",
    entries: "wrrwww----",
  });
  yield* life.step("a write where one may only read", life.touch(1), EFAULT, {
    entries: "wrrwww----",
  });
  yield* life.step("mprotect over three", life.protect(0, 6, VM_READ), 0, {
    mappings: "0-6 r",
    entries: "rrrrrr----",
    frames: 6,
  });
  yield* life.step("mprotect back", life.protect(0, 6, RW), 0, { mappings: "0-6 rw" });
  yield* life.step("a write", life.touch(0), 0, { entries: "wrrrrr----", frames: 6 });
  const kept = life.pfn(3);
  yield* life.step("mprotect none", life.protect(3, 1, 0), 0, {
    mappings: "0-3 rw, 3-4 , 4-6 rw",
    entries: "wrrnrr----",
  });
  yield* life.step("a read where nothing may be", life.touch(3, false), EFAULT, {
    entries: "wrrnrr----",
  });
  yield* life.step("mprotect back", life.protect(3, 1, RW), 0, { mappings: "0-6 rw", frames: 6 });
  yield* life.step("a read", life.touch(3, false), 0, { entries: "wrrrrr----" });
  assert(life.pfn(3) === kept, "the page has another frame");
  yield* life.step("munmap", life.unmap(2, 2), 0, {
    mappings: "0-2 rw, 4-6 rw",
    entries: "wr--rr----",
    frames: 4,
  });
  yield* life.step("a read of what is gone", life.touch(2, false), EFAULT);
  yield* life.step("mmap between", life.map(2, 2), address(2), {
    mappings: "0-6 rw",
    entries: "wr--rr----",
  });
  yield* life.step("madvise", life.discard(0, 3), 0, {
    mappings: "0-6 rw",
    entries: "----rr----",
    frames: 2,
  });
  yield* life.step(
    "mmap shared over",
    life.map(1, 4, { shared: true, placement: MAP_FIXED_REPLACE }),
    address(1),
    {
      mappings: "0-1 rw, 1-5 rw shared, 5-6 rw",
      entries: "-----r----",
      frames: 1,
    },
  );
  yield* life.step("munmap over three", life.unmap(0, 10), 0, {
    mappings: "",
    entries: "----------",
    frames: 0,
  });
  const anywhere = yield* life.map(0, 1, { placement: MAP_ANYWHERE });
  assert(anywhere > 0 && anywhere % PAGE_BYTES === 0, `mmap answered ${anywhere}`);
  yield* endOf(life);
}

/** Mappings grow, shrink and move, with their frames. */
function* move(harness: HmmHarness): Task<void> {
  const life = new Life(harness);
  yield* life.step("mmap", life.map(0, 2), address(0));
  yield* life.step("mmap", life.map(8, 1), address(8), { mappings: "0-2 rw, 8-9 rw" });
  for (const page of [0, 1, 8]) yield* life.step("a write", life.touch(page), 0);
  const frames = [life.pfn(0), life.pfn(1)];
  yield* life.step("growing in place", life.remap(0, 2, 4), address(0), {
    mappings: "0-4 rw, 8-9 rw",
    frames: 3,
  });
  yield* life.step("shrinking", life.remap(0, 4, 3), address(0), {
    mappings: "0-3 rw, 8-9 rw",
    entries: "ww------w-",
  });
  yield* life.step("moving over what is there", life.remap(0, 3, 3, 7), address(7), {
    mappings: "7-10 rw",
    entries: "-------ww-",
    frames: 2,
  });
  assert(
    life.pfn(7) === frames[0] && life.pfn(8) === frames[1],
    "the moved pages have other frames",
  );
  yield* life.step("moving part of it", life.remap(8, 1, 1, 2), address(2), {
    mappings: "2-3 rw, 7-8 rw, 9-10 rw",
    entries: "--w----w--",
    frames: 2,
  });
  yield* life.step("shrinking and moving", life.remap(7, 1, 1, 3), address(3), {
    mappings: "2-4 rw, 9-10 rw",
    entries: "--ww------",
    frames: 2,
  });
  yield* life.step("mprotect", life.protect(2, 1, VM_READ), 0, {
    mappings: "2-3 r, 3-4 rw, 9-10 rw",
  });
  yield* life.step("moving back beside its like", life.remap(9, 1, 1, 4), address(4), {
    mappings: "2-3 r, 3-5 rw",
  });
  yield* endOf(life);
}

/** A fork, copies on write on either side, a shared page, and the end of both. */
function* fork(harness: HmmHarness): Task<void> {
  const life = new Life(harness);
  const { machine } = harness;
  yield* life.step("mmap", life.map(0, 2), address(0));
  yield* life.step("mmap shared", life.map(2, 1, { shared: true }), address(2), {
    mappings: "0-2 rw, 2-3 rw shared",
  });
  for (const page of [0, 1, 2]) yield* life.step("a write", life.touch(page), 0);
  const at = yield* doFork(machine, harness.mm);
  assert(at > 0, `fork answered ${at}`);
  const child = new Life(harness, Mm.at(machine.memory, at));
  life.require("fork", { entries: "rrw-------", frames: 3 });
  child.require("fork", { mappings: "0-2 rw, 2-3 rw shared", frames: 3 });
  assert(
    child.pfn(0) === life.pfn(0) && child.pfn(1) === life.pfn(1),
    "the child has other frames",
  );
  yield* life.step("a write of the parent", life.touch(0), 0, { entries: "wrw-------", frames: 4 });
  assert(child.pfn(0) !== life.pfn(0), "parent and child write the same frame");
  yield* child.step("a write of the child, alone by now", child.touch(0), 0, { frames: 4 });
  yield* child.step("a write of the child", child.touch(1), 0, { frames: 5 });
  yield* child.step("a write to what is shared", child.touch(2), 0, { frames: 5 });
  assert(child.pfn(2) === life.pfn(2), "what is shared has two frames");
  yield* mmput(machine, child.mm);
  life.require("the last child's end", { frames: 3 });
  yield* endOf(life);
}

/** A view pins its page, and a fork copies the page. */
function* view(harness: HmmHarness): Task<void> {
  const life = new Life(harness);
  const { machine } = harness;
  yield* life.step("mmap", life.map(0, 2), address(0));
  yield* life.step("a write", life.touch(0), 0, { entries: "w---------", frames: 1 });
  const hold = yield* viewOpen(machine, harness.mm, HARNESS_PAGE, HARNESS_PAGE + 2, true);
  assert(hold > 0, `the view answered ${hold}`);
  life.require("a view", { entries: "ww--------", frames: 2 });
  assert(
    harness.mm.users.read() === 2,
    `a view is open, and the space has ${harness.mm.users.read()} users`,
  );
  const pinned = life.pfn(0);
  yield* life.step("moving what a view holds", life.remap(0, 1, 1, 6), EBUSY);
  const at = yield* doFork(machine, harness.mm);
  assert(at > 0, `fork beside a view answered ${at}`);
  const child = new Life(harness, Mm.at(machine.memory, at));
  child.require("fork beside a view", { entries: "ww--------", frames: 4 });
  assert(
    child.pfn(0) !== pinned && life.pfn(0) === pinned,
    "a fork shares, or moves, a page that a view is writing",
  );
  yield* mmput(machine, child.mm);
  yield* life.step("munmap under a view", life.unmap(0, 1), 0, {
    mappings: "1-2 rw",
    entries: "-w--------",
    frames: 2,
  });
  yield* viewClose(machine, hold);
  life.require("closing the view", { entries: "-w--------", frames: 1 });
  yield* endOf(life);
}

function* endOf({ harness, mm }: Life): Task<void> {
  const { machine } = harness;
  assert(
    mm.users.read() === 1 && mm.count.read() === 1,
    `${mm.users.read()} users, ${mm.count.read()} counts`,
  );
  const { memory } = machine;
  assert(
    listedResources(memory, memory.record).length === 0,
    "the thread is still said to own something",
  );
  yield* mmput(machine, mm);
  yield* (yield* notifierSrcu(machine)).barrier();
  assert(machine.ram.usage().usedPages === 0, `${machine.ram.usage().usedPages} frames are left`);
  const left = machine.heap
    .accounting()
    .filter(({ name }) => /^(mm|vma|viewHold|pageCache|words512|words2048)$/.test(name));
  assert(
    left.length === 0,
    `left behind: ${left.map(({ name, live }) => `${live} ${name}`).join(", ")}`,
  );
}

const MAP = [
  "mm/calls/mmap.doMmap",
  "mm/calls/munmap.doMunmap",
  "mm/calls/mprotect.doMprotect",
  "mm/calls/madvise.doMadvise",
  "mm/lifetime/mm.mmput",
];

function alone(
  name: string,
  summary: string,
  body: (harness: HmmHarness) => Task<void>,
  runs: readonly string[],
): Covered {
  const scenario = harnessScenario({
    name: `coverage/mm/alone/${name}`,
    summary,
    harness: { pages: 0, arenaWords: 16_384, frames: 16 },
    exploration: { maxSteps: 40_000 },
    mayRemain: [],
    setup: () => undefined,
    tasks: { thread: (_shared, harness) => body(harness) },
  });
  return { layer: "mm", scenario, twins: [], runs: { thread: runs } };
}

export const wholeLives: readonly Covered[] = [
  alone(
    "map",
    "Mappings are split, joined, replaced and protected; each entry and frame is what it must be.",
    mapAndSplit,
    MAP,
  ),
  alone("move", "Mappings grow, shrink and move, and their frames with them.", move, [
    "mm/calls/mremap.doMremap",
    "mm/lifetime/mm.mmput",
  ]),
  alone(
    "fork",
    "A fork, copies on write on either side, a shared page, and the end of both.",
    fork,
    ["mm/lifetime/fork.doFork", "mm/lifetime/mm.mmput"],
  ),
  alone("view", "A view, what may not be done beside it, and what may.", view, [
    "mm/view/view-open.viewOpen",
    "mm/view/view-open.viewClose",
    "mm/lifetime/fork.doFork",
  ]),
];

/**
 * @module Bulk copies, in rows of pages through the page table, while other threads change the
 * mapping.
 * A write goes to the page or to no frame, a read gets what the page holds, and a copy that fails
 * leaves the rest as it was.
 */

import { Cell } from "../../../../src/checker/primitives/program.ts";
import { harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { FindingKind } from "../../../../src/checker/findings/finding.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { PAGE_BYTES, ptePfn } from "../../../../src/mm/pte.ts";
import { transfer } from "../../../../src/space/transfer.ts";
import { assert, SegmentationFault } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { withoutFlush } from "../mm/left-out.ts";

/** The first page of a leaf, so that a mapping of all its pages takes the leaf with it. */
const PAGE = 512;
const LEAF_PAGES = 512;
const ADDRESS: number = PAGE * PAGE_BYTES;
/** Every byte of the page at the beginning, of what is written, and of the reader's array. */
const BEFORE = 7;
const WRITTEN = 5;
const UNREAD = 1;
const LENGTH_BYTES = 8;

interface World {
  /** The reader's bytes at the end. */
  seen: Uint8Array;
  isRefused: boolean;
  readonly child: Cell;
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;

/** Whether the copy succeeded. */
function* isCopied(copy: Task<void>): Task<boolean> {
  try {
    yield* copy;
    return true;
  } catch (error) {
    if (error instanceof SegmentationFault) return false;
    throw error;
  }
}

function* read(world: World, { machine, mm }: HmmHarness): Task<void> {
  world.isRefused = !(yield* isCopied(transfer(machine, mm, ADDRESS, world.seen, false)));
}

function* write(world: World, { machine, mm }: HmmHarness): Task<void> {
  const from = new Uint8Array(LENGTH_BYTES).fill(WRITTEN);
  world.isRefused = !(yield* isCopied(transfer(machine, mm, ADDRESS, from, true)));
}

/** The last word of the first page and the first of the second, whose frames follow each other. */
function* writeRow(world: World, { machine, mm }: HmmHarness): Task<void> {
  const from = new Uint8Array(LENGTH_BYTES).fill(WRITTEN);
  const at = ADDRESS + PAGE_BYTES - LENGTH_BYTES / 2;
  world.isRefused = !(yield* isCopied(transfer(machine, mm, at, from, true)));
}

const discardSecond: Body = (_world, harness) => harness.discard(PAGE + 1, 1);

const discard: Body = (_world, harness) => harness.discard(PAGE, 1);
const munmap: Body = (_world, { machine, mm }) =>
  doMunmap(machine, mm, ADDRESS, LEAF_PAGES * PAGE_BYTES);

function* fork({ child }: World, { machine, mm }: HmmHarness): Task<void> {
  yield* child.store(yield* doFork(machine, mm));
}

function without(left: number, body: Body): Body {
  return (world, harness) => withoutFlush(left, body(world, harness));
}

/** The first bytes of the page, read plainly when all tasks have ended. */
function contents(harness: HmmHarness, mm: Mm = harness.mm): Uint8Array {
  const { ram } = harness.machine;
  const pfn = ptePfn(harness.entryOf(PAGE, mm));
  const { u8, basePfn } = ram.sections.of(pfn);
  return u8.slice((pfn - basePfn) * PAGE_BYTES, (pfn - basePfn) * PAGE_BYTES + LENGTH_BYTES);
}

function requireOneOf(bytes: Uint8Array, allowed: readonly number[], what: string): void {
  const [first = 0] = bytes;
  assert(
    allowed.includes(first) && bytes.every((byte) => byte === first),
    `${what} is ${bytes.join(" ")}`,
  );
}

/** Across two pages, from the middle of the first to that of the second, there and back. */
function* thereAndBack(_world: World, { machine, mm }: HmmHarness): Task<void> {
  const at = ADDRESS + PAGE_BYTES / 2;
  const from = Uint8Array.from({ length: PAGE_BYTES }, (_, i) => i % 251);
  yield* transfer(machine, mm, at, from, true);
  const into = new Uint8Array(PAGE_BYTES);
  yield* transfer(machine, mm, at, into, false);
  yield* transfer(machine, mm, at, into, false);
  assert(
    into.every((byte, i) => byte === i % 251),
    "what is read is not what was written",
  );
  const before = new Uint8Array(LENGTH_BYTES);
  yield* transfer(machine, mm, ADDRESS, before, false);
  requireOneOf(before, [BEFORE], "the page before the write");
  const beyond = yield* isCopied(transfer(machine, mm, ADDRESS + 2 * PAGE_BYTES, into, true));
  assert(!beyond, "a write past the mapping went somewhere");
}

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly pages?: number;
  readonly tasks: Readonly<Record<string, readonly [runs: readonly string[], body: Body]>>;
  readonly check?: (world: World, harness: HmmHarness) => void;
  readonly twins?: readonly (readonly [
    name: string,
    summary: string,
    FindingKind,
    Readonly<Record<string, Body>>,
  ])[];
}

function copying({ name, summary, pages = 1, tasks, check, twins = [] }: Parts): Covered {
  const entries = Object.entries(tasks);
  const bodies = Object.fromEntries(entries.map(([task, [, body]]) => [task, body]));
  const unread = (): Uint8Array => new Uint8Array(LENGTH_BYTES).fill(UNREAD);
  const parts = {
    harness: { pages: 0, arenaWords: 8192 },
    setup(harness: HmmHarness): World {
      harness.map(PAGE, pages);
      const filled = BEFORE * 0x01_01_01_01;
      harness.run(new HarnessCpu(harness).store(ADDRESS, filled));
      harness.run(new HarnessCpu(harness).store(ADDRESS + 4, filled));
      if (pages === 2) harness.run(new HarnessCpu(harness).store(ADDRESS + PAGE_BYTES, filled));
      const at = harness.run(harness.machine.heap.allocWords(512));
      return {
        seen: unread(),
        isRefused: false,
        child: new Cell(harness.machine.memory, at, "child"),
      };
    },
    reopen(world: World): void {
      world.seen = unread();
      world.isRefused = false;
    },
    ...(check === undefined ? {} : { check }),
  };
  const fullName = `coverage/space/${name}`;
  return {
    layer: "space",
    scenario: harnessScenario<World>({ ...parts, name: fullName, summary, tasks: bodies }),
    twins: twins.map(([twin, about, expects, own]) => {
      const its = { name: `${fullName}/${twin}`, summary: about, expects };
      return harnessScenario<World>({ ...parts, ...its, tasks: { ...bodies, ...own } });
    }),
    runs: Object.fromEntries(entries.map(([task, [runs]]) => [task, runs])),
  };
}

const COPY = ["space/transfer.transfer", "space/transfer.copyRow"] as const;
const FLUSH = ["sync/primitives/shootdown.flush"] as const;

/** After a failure the bytes are as they were. Else all of them are of one state of the page. */
function checkRead({ seen, isRefused }: World, allowed: readonly number[]): void {
  requireOneOf(seen, isRefused ? [UNREAD] : allowed, "what was read");
}

export const bulkCopies: readonly Covered[] = [
  copying({
    name: "alone/copies",
    summary:
      "A write over two pages is read back, the bytes beside it stay, and a copy past the end is an error.",
    pages: 2,
    tasks: { task: [COPY, thereAndBack] },
  }),
  copying({
    name: "write-row-vs-discard",
    summary:
      "A write goes over two pages whose frames follow each other, while another thread gives up the second.",
    pages: 2,
    tasks: {
      write: [["mm/fault/cpu-fault.framesInRow", "space/transfer.transfer"], writeRow],
      discard: [["sync/primitives/shootdown.flush"], discardSecond],
    },
    check: (_world, harness) => {
      const pfn = ptePfn(harness.entryOf(PAGE + 1));
      const { u32, basePfn } = harness.machine.ram.sections.of(pfn);
      const now = u32[(pfn - basePfn) * (PAGE_BYTES / 4)]!;
      assert([0, WRITTEN * 0x01_01_01_01].includes(now), `the second page begins with ${now}`);
    },
    twins: [
      [
        "without-flush",
        "The second page is freed without a flush.",
        "use-after-free",
        { discard: without(1, discardSecond) },
      ],
    ],
  }),
  copying({
    name: "read-vs-discard",
    summary:
      "A thread reads while another discards the page: it reads what the page held, or zeros.",
    tasks: { read: [COPY, read], discard: [FLUSH, discard] },
    check: (world) => checkRead(world, [BEFORE, 0]),
    twins: [
      [
        "without-flush",
        "The page is freed without a flush.",
        "use-after-free",
        { discard: without(1, discard) },
      ],
    ],
  }),
  copying({
    name: "read-vs-munmap-of-leaf",
    summary:
      "A thread reads while another unmaps the page and all pages of its leaf: it reads all bytes, or faults.",
    pages: LEAF_PAGES,
    tasks: {
      read: [[...COPY, "mmu/soft-tlb.sectionUnlessMoved"], read],
      munmap: [FLUSH, munmap],
    },
    check: (world) => checkRead(world, [BEFORE]),
  }),
  copying({
    name: "write-vs-discard",
    summary:
      "A thread writes while another discards the page: it writes to the old page, or to the new one.",
    tasks: { write: [COPY, write], discard: [FLUSH, discard] },
    check: (_world, harness) => requireOneOf(contents(harness), [WRITTEN, 0], "the page"),
    twins: [
      [
        "without-flush",
        "The page is freed without a flush.",
        "use-after-free",
        { discard: without(1, discard) },
      ],
    ],
  }),
  copying({
    name: "write-vs-fork",
    summary:
      "A thread writes while another forks: the child has the page from before or after, and the write is not lost.",
    tasks: { write: [COPY, write], fork: [FLUSH, fork] },
    check({ child }, harness) {
      requireOneOf(contents(harness), [WRITTEN], "the parent's page");
      requireOneOf(
        contents(harness, Mm.at(harness.machine.memory, child.peek())),
        [BEFORE, WRITTEN],
        "the child's page",
      );
    },
  }),
];

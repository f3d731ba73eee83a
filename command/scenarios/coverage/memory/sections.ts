/**
 * @module A user's buffer, whose frames are counted all together. The thread that added it removes
 * it when no references are left, while another thread drops the last one.
 */

import { Cell } from "../../../../src/checker/primitives/program.ts";
import { harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { UserBuffers } from "../../../../src/space/user-buffers.ts";
import { EBUSY, EINVAL, ENOMEM } from "../../../../src/sync/errno.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";

interface World {
  /** First frame of the section; two threads have references to it. */
  readonly pfn: number;
  readonly removed: Cell;
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;

const PAGE_BYTES = 4096;

function makeWorld(harness: HmmHarness): World {
  const { machine } = harness;
  const pfn = harness.run(machine.ram.sections.add(new SharedArrayBuffer(PAGE_BYTES)));
  if (pfn < 0) bug(`Cannot add a section: ${pfn}`);
  harness.run(machine.ram.refs.pageGet(pfn));
  harness.run(machine.ram.refs.pageGet(pfn));
  return {
    pfn,
    removed: new Cell(machine.memory, harness.run(machine.heap.allocWords(512)), "removed"),
  };
}

function* remove({ pfn, removed }: World, { machine }: HmmHarness): Task<void> {
  yield* machine.ram.refs.pagePut(pfn);
  const errno = yield* machine.ram.sections.remove(pfn);
  assert(errno === 0 || errno === EBUSY, `removing the section answered ${errno}`);
  if (errno === 0) yield* removed.store(1);
}

/** Reads the buffer while it has a reference. */
function* use({ pfn }: World, { machine }: HmmHarness): Task<void> {
  yield* machine.ram.refs.pageHas(pfn, 1);
  assert(machine.ram.sections.pagesAt(pfn) === 1, "the section has one page");
  yield* machine.ram.refs.pagePut(pfn);
}

function* useLate({ pfn }: World, { machine }: HmmHarness): Task<void> {
  yield* machine.ram.refs.pagePut(pfn);
  yield* machine.ram.refs.pageHas(pfn, 1);
  assert(machine.ram.sections.pagesAt(pfn) === 1, "the section has one page");
}

function make(name: string, summary: string, user: Body, isTwin: boolean): AnyScenario {
  return harnessScenario<World>({
    name,
    summary,
    ...(isTwin ? { expects: "error" } : {}),
    harness: { pages: 0 },
    setup: makeWorld,
    tasks: { remove, use: user },
    check({ pfn, removed }, { machine }) {
      if (removed.peek() === 0)
        assert(machine.ram.refs.pageCount(pfn) === 0, "the section is counted, and nobody has it");
    },
  });
}

/** The table of sections has one free record. `first` is the first frame of the machine's RAM. */
interface Full {
  readonly first: number;
}

function makeFull(harness: HmmHarness): Full {
  const { ram } = harness.machine;
  const first =
    ram.sections.handles.find(({ basePfn }) => basePfn !== 0)?.basePfn ?? bug("There is no RAM");
  const added: number[] = [];
  const add = (): number => harness.run(ram.sections.add(new SharedArrayBuffer(PAGE_BYTES)));
  for (let pfn = add(); pfn > 0; pfn = add()) added.push(pfn);
  const last = added.pop() ?? bug("Cannot fill the table: it was full");
  if (harness.run(ram.sections.remove(last)) !== 0) bug("Cannot take a section off again");
  return { first };
}

/** Operations on a table that is nearly full, and on sections that are no user's. */
function* fillUp({ first }: Full, { machine }: HmmHarness): Task<void> {
  const { ram } = machine;
  const buffers = new UserBuffers(machine);
  const growable = new SharedArrayBuffer(PAGE_BYTES, { maxByteLength: 2 * PAGE_BYTES });
  const pfn = yield* buffers.acquire(growable);
  assert(pfn > 0, `the last place is not to be had: ${pfn}`);
  const refused = yield* buffers.acquire(new SharedArrayBuffer(PAGE_BYTES));
  assert(refused === ENOMEM, `a section more than there can be was answered ${refused}`);
  assert((yield* ram.sections.remove(0)) === EINVAL, "the page of zeros was removed");
  assert((yield* ram.sections.remove(first)) === EINVAL, "the machine's own RAM was removed");
  assert((yield* ram.sections.remove(pfn)) === EBUSY, "a section was removed that is counted");
  const longer = new SharedArrayBuffer(3 * PAGE_BYTES);
  assert(
    (yield* ram.sections.extend(pfn, longer)) === EINVAL,
    "a section outgrew its frame numbers",
  );
  assert(
    (yield* ram.sections.extend(first, longer)) === EINVAL,
    "the machine's own RAM was extended",
  );
  assert(ram.sections.pagesAt(pfn) === 1, "a section was extended, and that was refused");
  // As another thread does that unmaps the buffer: the thread that added it notices that when it
  // needs the record.
  yield* ram.refs.pagePut(pfn);
  const next = yield* buffers.acquire(new SharedArrayBuffer(PAGE_BYTES));
  assert(next > 0, `the place of a buffer that nobody has mapped is not to be had: ${next}`);
  yield* buffers.release(next);
  assert(
    (yield* ram.sections.extend(next, longer)) === EINVAL,
    "a section was extended that is gone",
  );
}

const NAME = "coverage/memory/section-vs-use";

export const sections: readonly Covered[] = [
  {
    layer: "memory",
    scenario: harnessScenario<Full>({
      name: "coverage/memory/sections-all-taken",
      summary:
        "As many buffers as the table can have: one more is refused until one of them is unmapped.",
      harness: { pages: 0 },
      setup: makeFull,
      tasks: { task: fillUp },
      balanced: true,
    }),
    twins: [],
    runs: {
      task: [
        "memory/frames/sections.#add",
        "memory/frames/sections.extend",
        "memory/frames/sections.remove",
        "space/user-buffers.#add",
        "space/user-buffers.sweep",
      ],
    },
  },
  {
    layer: "memory",
    scenario: make(
      NAME,
      "A user's buffer is removed when its last reference is dropped, and not before.",
      use,
      false,
    ),
    twins: [
      make(
        `${NAME}/late`,
        "A thread reads the buffer after it has dropped its reference.",
        useLate,
        true,
      ),
    ],
    runs: {
      remove: ["memory/frames/sections.remove", "memory/frames/sections.remove"],
      use: ["memory/frames/sections.pagesAt", "memory/frames/frame-refs.pagePut"],
    },
  },
];

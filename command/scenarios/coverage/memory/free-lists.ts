/**
 * @module Threads with free lists of frames, without debug checks: first touches that take no lock,
 * as in a program. In scenarios on a harness a task's frames come from a stocked row instead.
 */

import { notePlainAccess } from "../../../../src/checker/watch/plain-accesses.ts";
import { Machine } from "../../../../src/memory/machine.ts";
import { PAGE_BYTES } from "../../../../src/memory/ram.ts";
import type { RamSnapshot } from "../../../../src/memory/frames/ram-snapshot.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { touchAhead } from "../../../../src/mm/fault/fault.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { mmCreate } from "../../../../src/mm/lifetime/mm.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { selectAgent } from "../../../../src/sync/runners/agents.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import { runBlocking } from "../../../../src/sync/runners/run-blocking.ts";
import { runInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { covering } from "../covered.ts";
import type { Covered, Covering } from "../covered.ts";

const PAGE = 64;

interface World {
  readonly machine: Machine;
  readonly mm: Mm;
  readonly frames: RamSnapshot;
  readonly references: number;
  readonly usedPages: number;
}

/**
 * Two pages are mapped, of which the second has been touched; threads 1 and 2 have a free frame
 * each.
 */
function build(): World {
  const machine = Machine.create({
    ramBytes: 1 << 21,
    heapBytes: 1 << 20,
    debug: false,
    name: "set-up",
  });
  const { memory, ram } = machine;
  memory.plainWatch = { note: notePlainAccess };
  const run = <T>(task: Task<T>): T => runBlocking(memory, task);
  const mm = Mm.at(memory, run(mmCreate(machine)));
  const place = {
    lengthBytes: 2 * PAGE_BYTES,
    address: PAGE * PAGE_BYTES,
    placement: MAP_FIXED_NOREPLACE,
  };
  const request = {
    ...place,
    protection: VM_READ | VM_WRITE,
    shared: false,
    bufferPfn: 0,
    offsetPages: 0,
  };
  if (run(doMmap(machine, mm, request)) < 0) bug("Cannot map two pages");
  const pfn = run(ram.allocRun(2, false));
  const self = memory.agentId;
  for (const agentId of [1, 2]) {
    selectAgent(memory, agentId);
    run(ram.refs.pagePut(pfn + agentId - 1));
  }
  selectAgent(memory, self);
  // Last in the set-up: this fills its own free list, under ramLock.
  run(cpuFault(machine, mm, PAGE + 1, true));
  const { references } = ram.refs.total();
  return { machine, mm, frames: ram.snapshot(), references, usedPages: ram.usage().usedPages };
}

/** The first store to the page. */
function* touch({ machine, mm }: World): Task<void> {
  assert((yield* cpuFault(machine, mm, PAGE, true)) === 0, "the page cannot be had");
}

/** The same, ahead of a store: as a device that stores from page to page. */
function* touchBefore({ machine, mm }: World): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* runInSteps(touchAhead, machine, mm, PAGE);
  yield* mm.mmapLock.upRead();
}

function* takeRow({ machine: { ram } }: World): Task<void> {
  const pfn = yield* ram.allocRun(4, false);
  assert(pfn !== 0, "no four frames in a row, and there are hundreds");
  for (let i = 0; i < 4; i++) yield* ram.refs.pagePut(pfn + i);
}

function requireOneMore({ machine: { ram }, references, usedPages }: World): void {
  const [now, used] = [ram.refs.total().references, ram.usage().usedPages];
  assert(
    now === references + 1,
    `one page was touched, and ${now - references} references are new`,
  );
  assert(used === usedPages + 1, `one page was touched, and ${used - usedPages} frames are taken`);
}

let made: World | undefined;
const world = (): World => (made ??= build());

const TOUCH = [
  "mm/fault/anonymous.faultFast",
  "memory/ram.allocFrameFast",
  "memory/frames/frame-allocator.takeFast",
] as const;

type Touching = Pick<Covering<World>, "name" | "summary" | "tasks">;

/** On a machine that is made once; at the end one page more has a frame. */
function touching(parts: Touching): Covered {
  return covering<World>({
    ...parts,
    layer: "memory",
    memory: () => world().machine.memory,
    setup: world,
    reopen: () => {
      world().frames.restore();
      return world();
    },
    check: requireOneMore,
  });
}

export const freeLists: readonly Covered[] = [
  touching({
    name: "touch-vs-touch-fast",
    summary:
      "Two threads touch one page first, each with a frame in its free list: the page gets one of the two frames, the other goes back to its list.",
    tasks: {
      first: { runs: [...TOUCH, "memory/frames/frame-refs.pagePutFast"], body: touch },
      second: { runs: TOUCH, body: touch },
    },
  }),
  touching({
    name: "touch-ahead-vs-touch-fast",
    summary:
      "A thread makes a page ahead of a store, while another one stores to it: the page gets one of the two frames.",
    tasks: {
      ahead: { runs: ["mm/fault/fault.touchAhead", ...TOUCH], body: touchBefore },
      store: { runs: TOUCH, body: touch },
    },
  }),
  touching({
    name: "touch-vs-contiguous-frames",
    summary:
      "A thread touches a page and takes a frame from its free list, while another allocates contiguous frames under ramLock.",
    tasks: {
      touch: { runs: TOUCH, body: touch },
      row: {
        runs: [
          "memory/frames/frame-allocator.takeRun",
          "memory/frames/frame-allocator.#giveLocked",
        ],
        body: takeRow,
      },
    },
  }),
];

/**
 * @module A thread that allocates and frees at random, and checks that no other thread has the same
 * memory. See threads.ts for the jobs.
 */

import { parentPort, workerData } from "node:worker_threads";
import { FrameAllocator } from "../../src/memory/frames/frame-allocator.ts";
import { Machine } from "../../src/memory/machine.ts";
import { PAGE_WORDS } from "../../src/memory/ram.ts";
import { atomicCompareExchange, atomicStore } from "../../src/sync/atomics.ts";
import type { Spinlock } from "../../src/sync/primitives/spinlock.ts";
import { DONE } from "../../src/sync/tasks/task.ts";
import { run } from "./harness.ts";
import { Node, Wide } from "./shared-structs.ts";
import type { StressJob, StressReport } from "./threads.ts";
import { type Dice, diceOf } from "../dice.ts";

const LIVE_LIMIT = 150;

interface Live {
  readonly check: () => string | undefined;
  readonly free: () => void;
}

class Stress {
  readonly machine: Machine;
  readonly dice: Dice;
  readonly me: number;
  allocated = 0;
  full = 0;

  constructor(machine: Machine, seed: number) {
    this.machine = machine;
    this.dice = diceOf(seed);
    this.me = machine.memory.agentId + 1;
  }

  /**
   * `steps` random allocations and frees, then frees all. Returns the first thing that is wrong.
   */
  loop(steps: number, alloc: () => Live | string | undefined): string | undefined {
    const live: Live[] = [];
    for (let step = 0; step < steps; step++) {
      if (live.length > 0 && this.dice(LIVE_LIMIT) < live.length) {
        const [object] = live.splice(this.dice(live.length), 1);
        const wrong = object?.check();
        if (wrong !== undefined) return `step ${step}: ${wrong}`;
        object?.free();
        continue;
      }
      const object = alloc();
      if (typeof object === "string") return `step ${step}: ${object}`;
      if (object === undefined) this.full++;
      else {
        this.allocated++;
        live.push(object);
      }
    }
    for (const object of live) object.free();
    return undefined;
  }

  heapObject(): Live | string | undefined {
    const { machine, me } = this;
    const { heap, memory } = machine;
    const info = [Node, Wide][this.dice(3)];
    const count = info?.sizeWords ?? [512, 1024, 2048][this.dice(3)]!; // indexed within bounds
    const at = run(machine, info === undefined ? heap.allocWords(count) : heap.alloc(info));
    if (at === 0) return undefined;
    const mark = me * 2 ** 20 + this.dice(2 ** 20);
    for (let i = at; i < at + count; i++) {
      if (memory.words[i] !== 0)
        return `word ${i - at} of ${count} at ${at} is ${memory.words[i]}, not zero`;
      memory.words[i] = mark;
    }
    return {
      check: () => {
        const found = memory.words.subarray(at, at + count).findIndex((word) => word !== mark);
        return found < 0 ? undefined : `word ${found} of ${count} at ${at} was overwritten`;
      },
      free: () =>
        run(machine, info === undefined ? heap.freeWords(at, count) : heap.free(info, at)),
    };
  }

  frame(
    owners: Int32Array,
    take: () => number,
    give: (pfn: number) => void,
  ): Live | string | undefined {
    const pfn = take();
    if (pfn === 0) return undefined;
    const { me } = this;
    const owner = atomicCompareExchange(owners, pfn, 0, me);
    if (owner !== 0) return `frame ${pfn} was handed out while thread ${owner} has it`;
    const section = this.machine.ram.sections.of(pfn);
    const index = section.wordIndex(pfn);
    section.i32.fill(me, index, index + PAGE_WORDS);
    return {
      check: () =>
        section.i32.subarray(index, index + PAGE_WORDS).every((word) => word === me)
          ? undefined
          : `frame ${pfn} was overwritten`,
      free: () => {
        atomicStore(owners, pfn, 0);
        give(pfn);
      },
    };
  }
}

/** The allocator with a lock that locks nothing: the twin that must be caught. */
function allocatorWithoutLock(machine: Machine): FrameAllocator {
  const lock: unknown = { lock: () => DONE, unlock: () => DONE };
  const core = run(machine, machine.heap.root("ramCore"));
  const [coreAt] = machine.memory.words.subarray(core, core + 1);
  const allocator = new FrameAllocator(
    machine.memory,
    lock as Spinlock,
    machine.memory.words[(coreAt ?? 0) + 2]!,
    0,
  );
  allocator.zones.set(
    machine.handle.sections
      .map(({ basePfn }) => machine.ram.sections.of(basePfn))
      .filter((section) => section.owned),
  );
  return allocator;
}

function work(machine: Machine, job: StressJob): StressReport {
  const stress = new Stress(machine, job.seed);
  const owners = new Int32Array(job.owners);
  const { ram } = machine;
  let at = 0;
  let wrong: string | undefined;
  if (job.kind === "heap") wrong = stress.loop(job.steps, () => stress.heapObject());
  if (job.kind === "frames") {
    const take = (): number => run(machine, ram.allocFrame(false));
    const give = (pfn: number): void => run(machine, ram.refs.pagePut(pfn));
    wrong = stress.loop(job.steps, () => stress.frame(owners, take, give));
  }
  if (job.kind === "frames-without-lock") {
    const allocator = allocatorWithoutLock(machine);
    const take = (): number => run(machine, allocator.take());
    const give = (pfn: number): void => run(machine, allocator.give(pfn));
    wrong = stress.loop(job.steps, () => stress.frame(owners, take, give));
  }
  if (job.kind === "singleton")
    ({ at } = run(
      machine,
      machine.heap.singleton(Node, (view) => (view.mark = stress.me)),
    ));
  return { allocated: stress.allocated, full: stress.full, wrong, at };
}

const job = workerData as StressJob;
const machine = Machine.attach(job.handle, { name: `stress ${job.kind}` });
let report: StressReport;
try {
  report = work(machine, job);
} catch (error) {
  report = { allocated: 0, full: 0, wrong: String(error), at: 0 };
}
parentPort?.postMessage(report);
machine.detach();

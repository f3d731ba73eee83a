/**
 * @module A CPU thread of a scenario: loads and stores by value through the shipped TLB, page-table
 * walk and fault handler, each access to shared memory a step of its own
 * (sync/runners/stepping.ts). Make one in each task, when the task begins: it keeps the thread's
 * cached translations, and those must not outlive an execution.
 *
 * @example
 * ```ts no-run
 * import { RIG_PAGE, HarnessCpu, harnessScenario } from "hmm-ts/checker";
 *
 * export default harnessScenario({
 *   name: "store-vs-munmap",
 *   setup: () => undefined,
 *   tasks: {
 *     *store(_shared, harness) {
 *       yield* new HarnessCpu(harness).store(RIG_PAGE * 4096, 1);
 *     },
 *     discard: (_shared, harness) => harness.discard(RIG_PAGE, 1),
 *   },
 * });
 * ```
 */

import { CpuTranslator } from "../../mm/fault/cpu-fault.ts";
import type { Mm } from "../../mm/mm-struct.ts";
import { TypedMemory } from "../../mmu/typed-memory.ts";
import { SteppingRunner, callInSteps } from "../../sync/runners/stepping.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { HmmHarness } from "./hmm-harness.ts";

/** One thread's accesses to one address space, by value, 32 bits wide. */
export class HarnessCpu {
  /** All widths, for {@link callInSteps}. */
  readonly memory: TypedMemory;

  constructor({ machine, mm }: HmmHarness, ofMm: Mm = mm) {
    const translator = new CpuTranslator(machine, ofMm, new SteppingRunner());
    this.memory = new TypedMemory(machine, ofMm.shootdown, translator);
  }

  /** Throws SegmentationFault where no mapping may be read. */
  load(address: number): Task<number> {
    return callInSteps(this.memory.u32, "load", address);
  }

  /** Throws SegmentationFault where no mapping may be written. */
  store(address: number, value: number): Task<void> {
    return callInSteps(this.memory.u32, "store", address, value);
  }

  /** Adds atomically; the value from before. */
  add(address: number, value: number): Task<number> {
    return callInSteps(this.memory.u32, "atomicAdd", address, value);
  }
}

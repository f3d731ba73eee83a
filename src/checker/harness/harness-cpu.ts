/**
 * @module A CPU thread of a scenario. Its loads and stores use the shipped TLB, page-table walk and
 * fault handler, and each access to shared memory is a step (sync/runners/stepping.ts). Make one at
 * the beginning of each task: it has the cached translations of the thread, which must not outlive
 * an execution.
 *
 * @example
 * ```ts no-run
 * import { HARNESS_PAGE, HarnessCpu, harnessScenario } from "hmm-ts/checker";
 *
 * export default harnessScenario({
 *   name: "store-vs-munmap",
 *   setup: () => undefined,
 *   tasks: {
 *     *store(_shared, harness) {
 *       yield* new HarnessCpu(harness).store(HARNESS_PAGE * 4096, 1);
 *     },
 *     discard: (_shared, harness) => harness.discard(HARNESS_PAGE, 1),
 *   },
 * });
 * ```
 */

import { CpuTranslator } from "../../mm/fault/cpu-fault.ts";
import type { Mm } from "../../mm/mm-struct.ts";
import { TypedMemory } from "../../mmu/typed-memory.ts";
import { SteppingRunner, callInSteps } from "../../sync/runners/stepping/calls.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { HmmHarness } from "./hmm-harness.ts";

/** 32-bit accesses of one thread to one address space. */
export class HarnessCpu {
  /** Accesses of all widths, for {@link callInSteps}. */
  readonly memory: TypedMemory;

  constructor({ machine, mm }: HmmHarness, ofMm: Mm = mm) {
    const translator = new CpuTranslator(machine, ofMm, new SteppingRunner());
    this.memory = new TypedMemory(machine, ofMm.shootdown, translator);
  }

  /** Throws SegmentationFault if no mapping allows the read. */
  load(address: number): Task<number> {
    return callInSteps(this.memory.u32, "load", address);
  }

  /** Throws SegmentationFault if no mapping allows the write. */
  store(address: number, value: number): Task<void> {
    return callInSteps(this.memory.u32, "store", address, value);
  }

  /** Adds atomically. Returns the value from before. */
  add(address: number, value: number): Task<number> {
    return callInSteps(this.memory.u32, "atomicAdd", address, value);
  }

  /** As a section of the space (`AddressSpace.section`): the stores of `body` share one mark. */
  *section<T>(body: Task<T>): Task<T> {
    const { mark } = this.memory;
    mark.openSection();
    let result: T;
    try {
      result = yield* body;
    } catch (error) {
      yield* callInSteps(mark, "closeSection");
      throw error;
    }
    yield* callInSteps(mark, "closeSection");
    return result;
  }
}

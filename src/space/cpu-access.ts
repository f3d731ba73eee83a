/**
 * @module space/cpu-access
 * Single loads and stores through an AddressSpace object: the software TLB of this thread for this
 * space (mmu/soft-tlb.ts), which asks the page table (mm/fault/cpu-fault.ts) when it has no answer,
 * as long as the object has not been disposed of.
 */

import type { Machine } from "../memory/machine.ts";
import type { Translator } from "../mmu/translator.ts";
import { TypedMemory } from "../mmu/typed-memory.ts";
import { CpuTranslator } from "../mm/fault/cpu-fault.ts";
import type { Mm } from "../mm/mm-struct.ts";
import type { OperationGate } from "./operation-gate.ts";

export class CpuAccess implements Translator {
  readonly memory: TypedMemory;
  readonly #gate: OperationGate;
  readonly #translator: CpuTranslator;

  constructor(machine: Machine, mm: Mm, gate: OperationGate) {
    this.#gate = gate;
    this.#translator = new CpuTranslator(machine, mm, {
      runToEnd: (task) => gate.runNow("access", task),
    });
    this.memory = new TypedMemory(machine, mm.shootdown, this);
  }

  /** Page faults that accesses through this object have taken so far. */
  get faults(): number {
    return this.#translator.faults;
  }

  /** @stepped */
  translate(page: number, write: boolean, address: number): number {
    this.#gate.check("access");
    return this.#translator.translate(page, write, address);
  }

  /** The space is given up: every further access throws EBADF. */
  close(): void {
    this.memory.forget();
  }
}

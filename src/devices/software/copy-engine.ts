/**
 * @module devices/software/copy-engine
 * The software device's hardware: its memory is a section of the machine's RAM
 * (memory/frames/sections.ts), so that a frame of it has a number like every other, and one
 * software TLB reaches both. Pages are copied by the thread that serves. Device threads walk the
 * device's table themselves when they miss, so nothing is to be installed; a shootdown flushes what
 * they have cached.
 */

import { DONE, type Machine, type Shootdown, type Task } from "../../driver-interface.ts";
import type { CopyBatch, CopyEngine, TranslationUnit } from "../service/device-hardware.ts";

/** Copies in the calling thread. */
export class RamCopyEngine implements CopyEngine {
  readonly #machine: Machine;
  readonly #firstPfn: number;

  /** `firstPfn`: the frame number of device memory's frame 0. */
  constructor(machine: Machine, firstPfn: number) {
    this.#machine = machine;
    this.#firstPfn = firstPfn;
  }

  *copyToDevice({ count, sources, targets }: CopyBatch): Task<void> {
    const { ram } = this.#machine;
    for (let i = 0; i < count; i++)
      yield* ram.copyUnheldFrame(sources[i]!, this.#firstPfn + targets[i]!);
  }
}

/** The software TLBs of the device's threads. */
export class SoftwareTlbs implements TranslationUnit {
  readonly #shootdown: Shootdown;

  constructor(shootdown: Shootdown) {
    this.#shootdown = shootdown;
  }

  install(): Task<void> {
    return DONE;
  }

  flush(startPage: number, endPage: number): Task<void> {
    return this.#shootdown.flush(startPage, endPage);
  }
}

/** @module Which words belong to freed objects, so that a use of one is noticed when it happens. */

import type { Wait } from "../sync/task.ts";
import { kindCode } from "./footprint.ts";
import type { Footprints } from "./footprint.ts";

const ALLOC = kindCode("alloc");
const FREE = kindCode("free");

export interface BadAccess {
  readonly kind: "use-after-free" | "double-free";
  readonly freeStep: number;
}

export class ObjectLives {
  readonly #footprints: Footprints;
  /** By place: the step that freed it, + 1. */
  #freedBy: Int32Array = new Int32Array(256);
  /** Something has been freed in this execution. */
  anyFreed = false;

  constructor(footprints: Footprints) {
    this.#footprints = footprints;
  }

  /** A new execution begins. */
  forget(): void {
    if (this.anyFreed) this.#freedBy.fill(0);
    this.anyFreed = false;
  }

  /** Notes the step that is about to be performed; says if it touches what was freed. */
  step(code: number, step: number, wait: Wait): BadAccess | undefined {
    if (code === ALLOC) this.#mark(wait, 0);
    else if (this.anyFreed || code === FREE) {
      const freeStep = this.freedBefore(wait);
      if (code === FREE) {
        this.anyFreed = true;
        this.#mark(wait, step + 1);
      }
      if (freeStep !== undefined) return { kind: code === FREE ? "double-free" : "use-after-free", freeStep };
    }
    return undefined;
  }

  /** The step that freed what the operation touches, if one did. */
  freedBefore(wait: Wait): number | undefined {
    for (let i = 0; i < Math.max(wait.words, 1); i++) {
      const place = this.#footprints.placeOf(wait.index + i);
      const freedBy = place < this.#freedBy.length ? this.#freedBy[place]! : 0;
      if (freedBy !== 0) return freedBy - 1;
    }
    return undefined;
  }

  #mark(wait: Wait, value: number): void {
    if (value === 0 && !this.anyFreed) return;
    for (let i = 0; i < wait.words; i++) {
      const place = this.#footprints.placeOf(wait.index + i);
      if (place >= this.#freedBy.length) {
        const wider = new Int32Array(place * 2);
        wider.set(this.#freedBy);
        this.#freedBy = wider;
      }
      this.#freedBy[place] = value;
    }
  }
}

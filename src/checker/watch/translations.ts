/**
 * @module Uses of stale translations by devices: the bug that HMM exists to prevent. The device
 * uses a frame for a page, and the CPU's page table no longer maps the page to it. So the device
 * reads or overwrites data of another owner. No other check finds that: the device takes no lock,
 * and the memory is allocated.
 *
 * A use is a step on the page's entry in the CPU's page table. An invalidation changes that entry
 * between its start and its end. So both orders of the two are explored, whatever the driver does
 * or forgets.
 */

import type { Machine } from "../../memory/machine.ts";
import { Mm } from "../../mm/mm-struct.ts";
import { leafOf, pteIndex } from "../../mmu/radix-table.ts";
import { PTE_PRESENT, PTE_WRITE, ptePfn } from "../../mm/pte.ts";
import { plainLoad } from "../../sync/atomics.ts";
import { access } from "../../sync/tasks/task.ts";
import type { Task } from "../../sync/tasks/task.ts";

/** A device used a translation that is no longer valid. */
export class StaleTranslation extends Error {
  /** The virtual page number. */
  readonly page: number;
  /** The frame number that the device reaches for it. */
  readonly frame: number;
  /** Word index of the entry in the CPU's page table; of the table's root if there is no entry. */
  readonly entryIndex: number;

  constructor(page: number, frame: number, now: string, entryIndex: number) {
    super(`the device reaches frame ${frame} for page ${page}, which ${now}`);
    this.name = "StaleTranslation";
    this.page = page;
    this.frame = frame;
    this.entryIndex = entryIndex;
  }
}

/** How a device uses a translation. */
export interface TranslationUse {
  /** The virtual page number. */
  readonly page: number;
  /** The frame number that the device reaches for it. */
  readonly frame: number;
  /** It stores: the page must be writable. Default false. */
  readonly write?: boolean;
}

/**
 * The device uses a translation now. This is a step of the device's task. Throws
 * {@link StaleTranslation} if the page table of `mm` does not have that translation any more. The
 * memory of `mm` must be allocated.
 */
export function* useTranslation(machine: Machine, mm: Mm, use: TranslationUse): Task<void> {
  const { memory } = machine;
  const pgd = plainLoad(memory.words, mm.at + Mm.offset.pgd);
  const leaf = pgd === 0 ? 0 : leafOf(memory, pgd, use.page);
  const index = leaf === 0 ? mm.at + Mm.offset.pgd : pteIndex(leaf, use.page);
  yield* access(memory, "read", index, 1, "translation");
  const pte = leaf === 0 ? 0 : plainLoad(memory.words, index);
  if ((pte & PTE_PRESENT) === 0)
    throw new StaleTranslation(use.page, use.frame, "has no frame any more", index);
  if (ptePfn(pte) !== use.frame) {
    throw new StaleTranslation(use.page, use.frame, `is in frame ${ptePfn(pte)} now`, index);
  }
  if (use.write === true && (pte & PTE_WRITE) === 0) {
    throw new StaleTranslation(use.page, use.frame, "may not be written any more", index);
  }
}

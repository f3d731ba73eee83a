/**
 * @module mm/view/pin
 * Pins: frames that stay where they are, and are the mapping's, for code that uses them without
 * entries. Follows Linux `pin_user_pages` and `unpin_user_pages` in `mm/gup.c`. A view is a long
 * pin whose frames are in a row, and whose writer keeps devices out (view-hold.ts).
 *
 * | | while a page is pinned |
 * | --- | --- |
 * | migration, eviction, exclusive access of a device, a view that would move it | the page stays; refused with EBUSY, or left out |
 * | fork | the child gets a copy at once: the frame remains the parent's |
 * | munmap, madvise, truncation, exit | take the mapping away; the frame is kept until the pin ends |
 * | mprotect, mremap | change the mapping, not the frame |
 * | a device | reads and writes the frame over the bus; it makes no copy of it while a pin for writing is open |
 *
 * A short pin is for one transfer, a long pin for as long as the program likes. Only a short one
 * may be of a device's coherent memory, whose end waits for it, or of a shared file for writing.
 */

import type { Machine } from "../../memory/machine.ts";
import { EINVAL, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { Mm } from "../mm-struct.ts";
import { HOLD_LONG_PIN, HOLD_PIN, PIN_PAGES_MAX, ViewHold, framesOf } from "./view-hold.ts";
import { openHold, viewClose } from "./view-open.ts";

/** For what `pinUserPages` pins, and for how long. */
export interface PinOptions {
  /** The frames will be written. Default false. */
  readonly write?: boolean;
  /** The pin lasts for longer than one transfer (Linux: FOLL_LONGTERM). Default false. */
  readonly longTerm?: boolean;
}

/** Pages that are pinned, until `unpinUserPages`. */
export interface PinnedPages {
  /** Frame of each page, in the order of the pages. */
  readonly pfns: Uint32Array;
  /** Where the pin is known. */
  readonly at: number;
}

/**
 * Pins the pages [startPage, endPage), 1 to PIN_PAGES_MAX of them. Takes the mmap lock; the caller
 * holds an mm user, and no lock. The pin is a resource of this thread: if the thread dies, it ends.
 *
 * | result | meaning |
 * | --- | --- |
 * | EFAULT | a page is not mapped, or not with that right, or ends beyond its source; or a long pin would write a shared file |
 * | EBUSY | a device cannot give a page back, or others take it away each time |
 * | EINVAL | no page, or too many; or part of a shared file for writing beside other memory |
 * | EMFILE | the thread has too many resources |
 * | ENOMEM | no memory |
 *
 * @example
 * const pinned = yield* pinUserPages(machine, mm, startPage, endPage, { write: true });
 * if (typeof pinned === "number") return pinned;
 * for (const pfn of pinned.pfns) transferTo(pfn);
 * yield* unpinUserPages(machine, pinned);
 */
export function* pinUserPages(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
  { write = false, longTerm = false }: PinOptions = {},
): Task<PinnedPages | Errno> {
  if (!(startPage < endPage) || endPage - startPage > PIN_PAGES_MAX) return EINVAL;
  const kind = longTerm ? HOLD_LONG_PIN : HOLD_PIN;
  const at = yield* openHold(machine, mm, { startPage, endPage, isWrite: write, kind });
  if (at < 0) return at;
  return { at, pfns: framesOf(ViewHold.at(machine.memory, at)).slice() };
}

/**
 * Ends a pin of this thread: its frames may be moved, or used again, from here on. Takes the mmap
 * lock, and may drop the last user of the address space. Holding no lock.
 */
export function unpinUserPages(machine: Machine, { at }: PinnedPages): Task<void> {
  return viewClose(machine, at);
}

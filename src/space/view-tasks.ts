/**
 * @module space/view-tasks
 * To open and close a view, as tasks: the hold of mm/view/view-open.ts, the frames' bytes in this
 * thread, and in debug builds the watch over a read view. The user's object is in view.ts.
 */

import type { Machine } from "../memory/machine.ts";
import { PAGE_BYTES } from "../memory/ram.ts";
import type { Mm } from "../mm/mm-struct.ts";
import { TASK_SIZE_PAGES } from "../mmu/radix-table.ts";
import { ViewHold } from "../mm/view/view-hold.ts";
import { viewClose, viewOpen } from "../mm/view/view-open.ts";
import { type WatchedView, findStrayStore, watchView } from "../mm/view/view-watch.ts";
import { EFAULT } from "../sync/errno.ts";
import type { Task } from "../sync/tasks/task.ts";
import { type ArgumentRule, checkArgument, oneOf, wholeNumber } from "../sync/argument-rules.ts";
import { failure, refusalBy, unwrap } from "./failures.ts";

/**
 * What a view is for: a "read" view shares its pages with devices, a "write" view keeps them out
 * until it is disposed of.
 *
 * Do not store through a "read" view, though JavaScript has no typed array that refuses it. The
 * store changes the frame, also where `mprotect` forbids stores, and no device is notified: one
 * that has a copy of the page keeps the old bytes. In a debug build (the option `debug` of the
 * space) disposing of the view throws HmmError EPERM, with the address of the first byte that was
 * changed so, unless other stores to the page were allowed meanwhile.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * const p = space.mmapSync(4096, { protection: "read" });
 * using view = space.viewSync(p, 4096, "read"); // "write" would throw EFAULT
 * console.log(view.as(Float64Array).length); // 512
 * ```
 */
export type ViewMode = "read" | "write";

const MODE: ArgumentRule = oneOf("read", "write");

/** Bytes of shared memory. To compilers before 5.7, Uint8Array is no generic type. */
export type SharedBytes = Uint8Array & { readonly buffer: SharedArrayBuffer };

/** An open view: its hold, its bytes, and in debug builds what finds stray stores to them. */
export interface OpenView {
  readonly at: number;
  readonly bytes: SharedBytes;
  readonly watch: WatchedView | undefined;
}

function checkView(address: number, lengthBytes: number, mode: ViewMode): void {
  const refuse = refusalBy("view", address);
  checkArgument(refuse, "the address", address, wholeNumber(0));
  checkArgument(refuse, "lengthBytes", lengthBytes, wholeNumber(1));
  checkArgument(refuse, "the mode", mode, MODE);
  if (address + lengthBytes > TASK_SIZE_PAGES * PAGE_BYTES) throw failure("view", EFAULT, address);
}

/** Opens a view. The caller holds an mm user. Throws HmmError. */
export function* openView(
  machine: Machine,
  mm: Mm,
  address: number,
  lengthBytes: number,
  mode: ViewMode,
): Task<OpenView> {
  checkView(address, lengthBytes, mode);
  const startPage = Math.floor(address / PAGE_BYTES);
  const endPage = Math.ceil((address + lengthBytes) / PAGE_BYTES);
  const at = unwrap(
    "view",
    yield* viewOpen(machine, mm, startPage, endPage, mode === "write"),
    address,
  );
  try {
    const bytes = bytesOf(machine, at, address, lengthBytes);
    const isWatched = machine.memory.debug && mode === "read";
    const hold = ViewHold.at(machine.memory, at);
    return {
      at,
      bytes,
      watch: isWatched ? yield* watchView(machine, hold, bytes, address % PAGE_BYTES) : undefined,
    };
  } catch (error) {
    yield* viewClose(machine, at);
    throw error;
  }
}

/** The bytes of the view `at`. Throws BufferNotHere. */
function bytesOf(machine: Machine, at: number, address: number, lengthBytes: number): SharedBytes {
  const { pfn, startPage, endPage } = ViewHold.at(machine.memory, at);
  // By the last page: if this thread knows the section in a shorter length, it gets the longer one.
  const { buffer, basePfn } = machine.ram.sections.of(pfn + (endPage - startPage) - 1);
  return new Uint8Array(buffer, (pfn - basePfn) * PAGE_BYTES + (address % PAGE_BYTES), lengthBytes);
}

/**
 * Closes a view. Returns the address of the first byte that a stray store has changed, or
 * undefined.
 */
export function* closeView(
  machine: Machine,
  { at, bytes, watch }: OpenView,
  address: number,
): Task<number | undefined> {
  const hold = ViewHold.at(machine.memory, at);
  const index =
    watch === undefined
      ? -1
      : yield* findStrayStore(machine, hold, bytes, address % PAGE_BYTES, watch);
  yield* viewClose(machine, at);
  return index < 0 ? undefined : address + index;
}

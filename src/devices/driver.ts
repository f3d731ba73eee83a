/**
 * @module devices/driver
 * The contract between a device's driver and the rest. Half of it is code that other threads call: `HmmMirrorOps` (hmm/mirror-ops.ts), by which a driver hears that a mapping
 * changes. This module has the other half, what the host's program calls, and the rules that both obey. software/ is the reference.
 *
 * A driver is code plus state in shared memory:
 *
 *   1  Its state lies in the kernel heap, for `invalidate` runs in whichever thread changes a mapping. That thread has loaded the driver's module, and nothing else of the driver's.
 *   2  `invalidate` takes the driver's own lock and no other, and returns when the device cannot reach the range any more. Where it may not wait, and would have to, it
 *      answers EAGAIN and has touched nothing (R3).
 *   3  The driver's lock is never held into anything that may change a mapping or fault: that could come back to `invalidate`, which takes it.
 *   4  A translation is used, or put into the device's table, only under the driver's lock, after `hmmRangeValid` has said there that no invalidation has run since it was read (R4).
 *   5  Every range is unregistered on every path: a registered one keeps the address space alive for ever.
 *   6  Frames are not referenced by the driver. What it holds of a page it gives up when it is told; what it copied before that it throws away.
 *   7  A device that keeps copies has the pages write-protected before it makes them (mm/track.ts), for stores change no mapping.
 *   8  `release` ends everything, once; the driver unregisters its mirror all the same.
 *   9  An access that no mapping allows ends in an error that names it (DeviceFault), and leaves the address space and the device usable. Nothing reads as zeros instead.
 */

/** What a device thread or a command did, in numbers. */
export interface CommandResult {
  /** Pages that the command moved, or looked at. */
  readonly pages: number;
  /** Rounds in which pages had to be faulted in: 1 when nothing had been on the device, 0 when everything was. */
  readonly faults: number;
}

/** What one dispatch of a kernel did, in numbers. */
export interface DispatchResult {
  /** Work items that ran. */
  readonly items: number;
  /** From handing the kernel to the device's threads until the last of them was done. */
  readonly seconds: number;
  /** Accesses that found no translation. These and the following count for the device while the dispatch ran, commands of the host included. */
  readonly faults: number;
  readonly batches: number;
  readonly bytesToDevice: number;
  readonly evictions: number;
  readonly invalidations: number;
  readonly retries: number;
  /** Work items that were given up at a fault and run again. */
  readonly replays: number;
}

/** What every device offers to the program that owns it. */
export interface Device extends AsyncDisposable {
  readonly name: string;
  /**
   * Copies what the device sees at `address` into `into`: all of it or, when it fails, nothing. Rejects with DeviceFault at the first page that cannot be read. Addresses and lengths are
   * bytes, aligned or not.
   */
  read(address: number, into: Uint8Array): Promise<CommandResult>;
  /** Has the device store `from` at `address`. Rejects with DeviceFault at the first page that cannot be written; what lies before it may have been written. */
  write(address: number, from: Uint8Array): Promise<CommandResult>;
  /** What the CPU's page table says of a range, one SNAPSHOT_ byte for each page, without bringing anything in. `address` is a multiple of 4096. */
  snapshot(address: number, lengthBytes: number): Promise<Uint8Array>;
}

/** A page of a snapshot: not mapped, not readable, or no page for a device. */
export const SNAPSHOT_ERROR = 0xff;
/** Nothing is present there, or nothing that could be used without a fault. */
export const SNAPSHOT_NONE = 0x00;
/** Present, and may not be stored to as it is. A page of which a device holds a copy is of this kind. */
export const SNAPSHOT_READ = 0x01;
/** Present, and may be stored to as it is. */
export const SNAPSHOT_WRITE = 0x02;
/** With SNAPSHOT_READ: the page of zeros. */
export const SNAPSHOT_ZERO = 0x10;

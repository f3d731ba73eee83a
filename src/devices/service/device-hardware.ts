/**
 * @module devices/service/device-hardware
 * A device's hardware as the service uses it: what copies pages, and what translates addresses. A
 * driver implements both for its kind of device; all else is the service's.
 */

import type { Task } from "../../driver-interface.ts";

/** Pages to be copied: number i goes from frame `sources[i]` of RAM to `targets[i]`. */
export interface CopyBatch {
  /** The number of pages to copy. */
  readonly count: number;
  /** Frame numbers (pfn) of RAM. */
  readonly sources: Uint32Array;
  /** Frames of device memory, counted from 0. All of them differ. */
  readonly targets: Int32Array;
}

/** Copies pages between RAM and device memory. */
export interface CopyEngine {
  /**
   * Copies a batch to device memory. It may wait: for a queue of the hardware, for another thread.
   * When it is done, whatever the device reads through a translation that is added afterwards is
   * what was copied. Called as the service owner, holding no lock and no reference of the sources:
   * a source may be freed and used for something else while it is copied. The service throws such a
   * copy away, so it must be no error here.
   */
  copyToDevice(batch: CopyBatch): Task<void>;
}

/** The device's table, for who reads it. */
export interface Entries {
  /** The entry of `page` (device-table.ts), 0 when there is none. */
  entryOf(page: number): number;
}

/**
 * The device's translation unit: it is notified when the device's table (device-table.ts) changes.
 * Both are called holding the driver lock, in any thread that has loaded the driver's module. They
 * may wait for the device, and take no lock.
 */
export interface TranslationUnit {
  /** Entries of pages [startPage, endPage) were added, or allow more. */
  install(entries: Entries, startPage: number, endPage: number): Task<void>;
  /**
   * Entries of pages [startPage, endPage) were cleared, or their frames are wanted for other pages.
   * Done when the device uses no translation of these pages that is not in the table (D2 of
   * device-record.ts).
   */
  flush(startPage: number, endPage: number): Task<void>;
}

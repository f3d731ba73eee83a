/**
 * @module conformance/driver-under-test
 * What the conformance tests ask of a driver, as tasks: so one and the same driver runs on a real
 * address space and in the checker.
 */

import type { Errno, HmmMirror, Machine, Mm, Mutex, Task } from "../driver-interface.ts";

/**
 * A driver, as the conformance tests use it. A device is named by its mirror. What a driver cannot
 * do is not asked of it: such members are optional.
 */
export interface DriverUnderTest {
  /** The name under which its call-backs are registered (`registerMirrorOps`). */
  readonly opsName: string;
  /**
   * Makes a device on `mm`, of which the caller has a user, and registers its mirror. Holding no
   * lock. The errno of what failed.
   */
  open(machine: Machine, mm: Mm): Task<HmmMirror | Errno>;
  /** Ends the device, in the thread that opened it. Holding no lock. */
  close(mirror: HmmMirror): Task<void>;
  /**
   * The device reads `into.length` bytes from `address` on (bytes, aligned or not), through its own
   * page table, and faults pages in where it must. 0; EFAULT (nothing readable is mapped there),
   * EFAULT or ESRCH (the space is dead), EBUSY (the mapping did not come to rest in time), ENOMEM.
   */
  read(mirror: HmmMirror, address: number, into: Uint8Array): Task<Errno>;
  /** Whether the device has a translation of the page: it could use it without a fault. */
  reaches(mirror: HmmMirror, page: number): Task<boolean>;
  /** The lock that `invalidate` takes. */
  driverLock(mirror: HmmMirror): Mutex;
  /** As `read`: the device stores. EPERM where the mapping may not be written. */
  write?(mirror: HmmMirror, address: number, from: Uint8Array): Task<Errno>;
  /**
   * A thread of the device at work, until `stop`. The tests run it as a task beside the others.
   * Without it, `read` and `write` need no thread of the device's own.
   */
  serve?(mirror: HmmMirror): Task<unknown>;
  /** Ends `serve`. `close` does so, too. */
  stop?(mirror: HmmMirror): Task<void>;
  /**
   * Moves `pages` pages from page number `startPage` on to memory of the device's own. How many of
   * them are there then, or an errno.
   */
  migrate?(mirror: HmmMirror, startPage: number, pages: number): Task<number>;
  /** Makes pages the device's alone, in RAM. 0 or an errno. */
  makeExclusive?(mirror: HmmMirror, startPage: number, pages: number): Task<Errno>;
  /**
   * A module that exports this very object under `exportName`, for tests with Workers, which import
   * it. Without it those tests are left out.
   */
  readonly module?: URL;
  /** Default "driverUnderTest". */
  readonly exportName?: string;
}

/** Imports the driver in a Worker. */
export async function importDriver(module: string, exportName: string): Promise<DriverUnderTest> {
  const exports = (await import(module)) as Record<string, DriverUnderTest | undefined>;
  const driver = exports[exportName];
  if (driver === undefined)
    throw new Error(
      `Cannot test the driver in a Worker: ${module} exports no ${exportName}; export it`,
    );
  return driver;
}

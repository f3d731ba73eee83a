/**
 * @module The driver of a small device for scenarios on a harness. The device is a table of four
 * translations in shared memory, from {@link HARNESS_PAGE} on, guarded by the driver lock. It is
 * written as every driver should be (hmm/range/valid.ts). A scenario about a broken driver replaces
 * one part of it: the mirror ops, or the check under the driver lock.
 *
 * Plain accesses under driverLock read and write the table. So code that forgets the lock has a
 * data race.
 */

import { DEFAULT_ENCODING, entryIsValid, entryIsWritable, entryPfn } from "../../hmm/entry.ts";
import { hmmRangeFault } from "../../hmm/walk/fault.ts";
import { registerMirrorOps } from "../../hmm/mirror/mirror-ops.ts";
import { HmmMirror, HmmMirrorRecord } from "../../hmm/mirror-record.ts";
import { hmmMirrorRegister, hmmMirrorUnregister } from "../../hmm/mirror/mirror.ts";
import { hmmRangeAlloc, hmmRangeFree, mmOfRange, withHmmRange } from "../../hmm/range/range.ts";
import type { HmmRange } from "../../hmm/range/range.ts";
import { hmmRangeValid, hmmRangeWaitUntilValid } from "../../hmm/range/valid.ts";
import { POISON_FREE } from "../../memory/layout/poison.ts";
import { array, embed, embedStruct, struct } from "../../memory/layout/struct.ts";
import type { Struct, StructView, WordArray } from "../../memory/layout/struct.ts";
import type { Mm } from "../../mm/mm-struct.ts";
import { PAGE_BYTES } from "../../mm/pte.ts";
import type { InvalidateRange } from "../../notifier/events.ts";
import { EAGAIN, EBUSY, ENOMEM } from "../../sync/errno.ts";
import type { Errno } from "../../sync/errno.ts";
import { bug } from "../../sync/errors.ts";
import { Mutex } from "../../sync/primitives/mutex.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { StateTable } from "../scenario.ts";
import { notePlainAccess } from "../watch/plain-accesses.ts";
import { HARNESS_PAGE } from "./hmm-harness.ts";
import type { HmmHarness } from "./hmm-harness.ts";

/** Translations that the device's table holds. */
export const HARNESS_TABLE_PAGES = 4;

export interface HarnessDeviceRecord extends StructView {
  readonly mirror: HmmMirrorRecord;
  readonly driverLock: Mutex;
  readonly table: WordArray;
}

export const HarnessDeviceRecord: Struct<HarnessDeviceRecord> = struct<HarnessDeviceRecord>(
  "harnessDevice",
  {
    mirror: embedStruct(HmmMirrorRecord, "hmm", "the mirror"),
    driverLock: embed(Mutex, "the table", "driverLock"),
    table: array(
      HARNESS_TABLE_PAGES,
      "driverLock",
      "entry of page HARNESS_PAGE + i as hmm gave it, 0 for none",
    ),
  },
);

export interface HarnessService {
  /** Fault for writing. Default: read-only translations. */
  readonly write?: boolean;
  /** The check under the driver lock. Default {@link hmmRangeValid}. */
  readonly isValid?: (range: HmmRange) => Task<boolean>;
  /** Rounds before EBUSY. Default 3. */
  readonly rounds?: number;
  /**
   * How long to wait for the end of an invalidation. In an exploration any finite time may time
   * out. Default Infinity, which never does.
   */
  readonly timeoutMs?: number;
}

export class HarnessDevice {
  readonly harness: HmmHarness;
  readonly record: HarnessDeviceRecord;
  readonly mirror: HmmMirror;

  /** For the set-up. `opsId` is from {@link registerMirrorOps}. Default: the correct driver. */
  constructor(harness: HmmHarness, opsId: number = HARNESS_DEVICE_OPS) {
    const { machine } = harness;
    this.harness = harness;
    const at = harness.run(machine.heap.alloc(HarnessDeviceRecord));
    this.record = HarnessDeviceRecord.at(machine.memory, at);
    harness.tables.push(() => this.describe());
    this.record.driverLock.init();
    this.mirror = new HmmMirror(machine, this.record.mirror.at);
    this.mirror.init(opsId);
  }

  /** A device whose mirror the set-up has registered on the harness's address space. */
  static registered(harness: HmmHarness, opsId: number = HARNESS_DEVICE_OPS): HarnessDevice {
    const device = new HarnessDevice(harness, opsId);
    const errno = harness.run(device.register());
    if (errno !== 0) bug(`Cannot register the harness's device: ${errno}`);
    return device;
  }

  /** The device of the mirror in a callback. */
  static recordOf(mirror: HmmMirror): HarnessDeviceRecord {
    return HarnessDeviceRecord.at(
      mirror.machine.memory,
      HarnessDeviceRecord.containerOf(mirror.at, "mirror"),
    );
  }

  /** Clears the entries of the pages of `range`. The caller holds the driver lock. */
  static sweep(
    record: HarnessDeviceRecord,
    range: Pick<InvalidateRange, "startPage" | "endPage">,
  ): void {
    for (let page = HARNESS_PAGE; page < HARNESS_PAGE + HARNESS_TABLE_PAGES; page++) {
      if (page >= range.startPage && page < range.endPage) setEntry(record, page, 0);
    }
  }

  get driverLock(): Mutex {
    return this.record.driverLock;
  }

  /** Takes the mmap lock. */
  *register(mm: Mm = this.harness.mm): Task<Errno> {
    yield* mm.mmapLock.downWrite();
    const errno = yield* hmmMirrorRegister(this.mirror, mm);
    yield* mm.mmapLock.upWrite();
    return errno;
  }

  unregister(): Task<void> {
    return hmmMirrorUnregister(this.mirror);
  }

  /** Frees the struct. The mirror must not be registered. */
  free(): Task<void> {
    return this.harness.machine.heap.free(HarnessDeviceRecord, this.record.at);
  }

  /**
   * Registers a range over `pages` pages from `startPage` on, serves it, and unregisters it.
   * Returns 0, EBUSY after all rounds, or an errno of HMM.
   */
  *serve(startPage: number, pages: number, options: HarnessService = {}): Task<Errno> {
    const { machine } = this.harness;
    const range = yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(pages) });
    if (typeof range === "number") return range === 0 ? ENOMEM : range;
    const { valid, write } = DEFAULT_ENCODING.flags;
    range.defaultFlags = options.write === true ? valid | write : valid;
    const start = startPage * PAGE_BYTES;
    const end = (startPage + pages) * PAGE_BYTES;
    const errno = yield* withHmmRange(range, this.mirror, start, end, () =>
      this.serveRange(range, options),
    );
    yield* hmmRangeFree(range);
    return errno;
  }

  /** The fault loop, for a registered range. */
  *serveRange(range: HmmRange, options: HarnessService = {}): Task<Errno> {
    const { isValid = hmmRangeValid, rounds = 3, timeoutMs = Infinity } = options;
    const mm = mmOfRange(range);
    for (let round = 0; round < rounds; round++) {
      if (!(yield* hmmRangeWaitUntilValid(range, timeoutMs))) continue;
      yield* mm.mmapLock.downRead();
      const pages = yield* hmmRangeFault(range);
      yield* mm.mmapLock.upRead();
      if (pages === EBUSY) continue;
      if (pages < 0) return pages;
      yield* this.driverLock.lock();
      const isGood = yield* isValid(range);
      if (isGood) this.program(range);
      yield* this.driverLock.unlock();
      if (isGood) return 0;
    }
    return EBUSY;
  }

  /** Installs the translations of the range. The caller holds the driver lock. */
  program(range: HmmRange): void {
    for (let page = range.startPage; page < range.endPage; page++) {
      const entry = range.pfns[page - range.startPage] ?? 0;
      setEntry(this.record, page, entryIsValid(entry, DEFAULT_ENCODING) ? entry : 0);
    }
  }

  /** The device uses its translation of a page. Returns the frame, or -1 if it has none. */
  *use(page: number): Task<number> {
    yield* this.driverLock.lock();
    const entry = this.entry(page);
    yield* this.driverLock.unlock();
    return entry === 0 ? -1 : entryPfn(entry, DEFAULT_ENCODING);
  }

  /** The caller holds the driver lock. */
  entry(page: number): number {
    const { table } = this.record;
    notePlainAccess(table.at + page - HARNESS_PAGE, false, "device table");
    return table.get(page - HARNESS_PAGE);
  }

  /** The table, for reports. */
  describe(): StateTable {
    const { words } = this.harness.machine.memory;
    const title = "device";
    const columns = ["", "frame", "rights"];
    const rows: string[][] = [];
    for (let i = 0; i < HARNESS_TABLE_PAGES; i++) {
      const entry = words[this.record.at + HarnessDeviceRecord.offset.table + i]!;
      if (entry === POISON_FREE) return { title, columns, rows: [["freed", "", ""]] };
      const rights = entryIsWritable(entry, DEFAULT_ENCODING) ? "read, write" : "read";
      if (entry !== 0)
        rows.push([`page ${HARNESS_PAGE + i}`, `${entryPfn(entry, DEFAULT_ENCODING)}`, rights]);
    }
    return { title, columns, rows };
  }

  /**
   * Throws if the table names a frame that is no longer the page's. Call it when no operation is in
   * progress, or under the driver lock.
   */
  requireCoherent(mm: Mm = this.harness.mm): void {
    for (let i = 0; i < HARNESS_TABLE_PAGES; i++)
      this.harness.requireCurrent(HARNESS_PAGE + i, this.record.table.get(i), mm);
  }
}

function setEntry({ table }: HarnessDeviceRecord, page: number, entry: number): void {
  notePlainAccess(table.at + page - HARNESS_PAGE, true, "device table");
  table.set(page - HARNESS_PAGE, entry);
}

/** The mirror ops of the correct driver. */
export const HARNESS_DEVICE_OPS: number = registerMirrorOps("harness device", {
  *invalidate(mirror, range) {
    const record = HarnessDevice.recordOf(mirror);
    if (range.blockable) yield* record.driverLock.lock();
    else if (!(yield* record.driverLock.tryLock())) return EAGAIN;
    HarnessDevice.sweep(record, range);
    yield* record.driverLock.unlock();
    return 0;
  },
  *release(mirror) {
    const record = HarnessDevice.recordOf(mirror);
    yield* record.driverLock.lock();
    HarnessDevice.sweep(record, { startPage: 0, endPage: Infinity });
    yield* record.driverLock.unlock();
  },
});

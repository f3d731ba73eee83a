/**
 * @module memory/frames/sections
 * From a frame number to the buffer that it lies in, as far as this thread has been given the
 * buffers. Not which frames are free (frame-allocator.ts).
 *
 * A section's buffers reach a thread by message only. So an operation that counts, maps or unmaps
 * frames of a user's buffer needs only the record, which is in the heap. An operation that reads or
 * writes them needs the buffer itself, and does so holding no lock.
 *
 * Lock: ramLock around the records (section-records.ts).
 */

import { atomicLoad } from "../../sync/atomics.ts";
import { EBUSY, EEXIST, EINVAL, ENOMEM, ENXIO } from "../../sync/errno.ts";
import type { Errno } from "../../sync/errno.ts";
import { HmmError } from "../../sync/errors.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Spinlock } from "../../sync/primitives/spinlock.ts";
import { undoStore } from "../../sync/words/undo-log.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { type FrameBuffer, makeBuffer, makeFrameBuffer } from "./bulk-memory.ts";
import type { DeviceMemory } from "./device-frames.ts";
import type { FrameCounts } from "./frame-counts.ts";
import type { RamSectionHandle, SectionKind } from "./ram-section.ts";
import {
  BUFFER_PAGES_MAX,
  PAGE_BYTES,
  RamSection,
  SECTION_DEVICE,
  SECTION_NONE,
  SECTION_OWNED,
  SECTION_PAGES_MAX,
  SECTION_USER,
  SECTION_ZERO,
  SectionRecord,
  countsOfRecord,
  frameTableBytes,
  isHandleOf,
  pagesBehind,
} from "./ram-section.ts";
import { undoField } from "../layout/undo-field.ts";
import { GRANULE_PAGES, GRANULE_SHIFT, SectionRecords } from "./section-records.ts";

const KIND = undoField(SectionRecord, "kind");
const SERIAL = undoField(SectionRecord, "serial");
const DEVICE = undoField(SectionRecord, "device");
const DEVICE_TABLE = undoField(SectionRecord, "deviceTable");
const DEVICE_KIND = undoField(SectionRecord, "deviceKind");

/** Largest user's buffer: 8 GiB, so that word indices stay 31-bit numbers. */
const USER_PAGES_MAX: number = 2 ** 21;

/** The section is there, and noted: in a row (H1 of sync/lockdep/held-locks.ts). */
function publish(words: Int32Array, record: SectionRecord, kind: number, note: number): void {
  const { basePfn } = record;
  const kindAt = record.at + SectionRecord.offset.kind;
  words[kindAt] = kind;
  if (note !== 0) words[note] = basePfn;
}

/**
 * A user's buffer that another thread mapped has not arrived in this thread, or not in its present
 * length (ENXIO). The operation has changed nothing.
 */
export class BufferNotHere extends HmmError {
  /** First frame of its section. */
  readonly basePfn: number;

  constructor(basePfn: number) {
    super(
      ENXIO,
      "access",
      "Cannot access memory: a buffer that another thread mapped has not arrived in this thread; let its event loop turn and try again, and in a browser connect the threads",
    );
    this.basePfn = basePfn;
  }
}

/** Receives what other threads have sent, until `isHere`, but no longer than the host allows. */
export type Receiver = (isHere: () => boolean) => void;

/** A section that this thread has not been given, or not in that length. */
interface UnreachedSection {
  readonly record: SectionRecord;
  readonly serial: number;
  readonly basePfn: number;
  readonly counts: FrameCounts;
}

export class Sections {
  readonly #memory: SharedMemory;
  readonly #lock: Spinlock;
  readonly #records: SectionRecords;
  readonly #byGranule: (RamSection | undefined)[] = [];
  #lastUnreached: UnreachedSection | undefined;
  #adoptions = 0;
  /**
   * Called when this thread needs a section that it was not given, or not in its present length. It
   * may adopt what arrives.
   */
  receive: Receiver | undefined;
  /**
   * Called in the thread that added or extended a user's section: the other threads need this
   * handle (`adopt`).
   */
  onSection: ((handle: RamSectionHandle) => void) | undefined;

  constructor(memory: SharedMemory, lock: Spinlock, recordsAt: number) {
    this.#memory = memory;
    this.#lock = lock;
    this.#records = new SectionRecords(memory, recordsAt);
  }

  /**
   * The section of a frame. Throws HmmError ENXIO for a frame that does not exist, BufferNotHere
   * where this thread lacks the buffer.
   */
  of(pfn: number): RamSection {
    return this.#reached(pfn) ?? this.#receive(pfn);
  }

  /**
   * Where references to the frame are counted, also where this thread lacks the buffer. Throws
   * HmmError ENXIO for a frame that does not exist.
   */
  countsOf(pfn: number): FrameCounts {
    const section = this.#reached(pfn);
    if (section !== undefined) return section.counts;
    const { record, counts } = this.#unreached(pfn);
    const isHere = record.kind === SECTION_USER || record.kind === SECTION_DEVICE;
    return isHere ? counts : this.#receive(pfn).counts;
  }

  /**
   * Pages of the section that begins at `basePfn`, also where this thread lacks the buffer. The
   * section is in use, so it stays, but it may grow. Throws HmmError ENXIO where there is none.
   */
  pagesAt(basePfn: number): number {
    const recordAt = this.#reached(basePfn)?.handle.recordAt ?? this.#unreached(basePfn).record.at;
    return this.#memory.words[recordAt + SectionRecord.offset.pages]! >>> 0;
  }

  /**
   * Whether this thread has all of the section that begins at `basePfn`; true also when there is
   * none any more.
   */
  isHere(basePfn: number): boolean {
    const record = this.#records.at(basePfn);
    return record === undefined || this.#reachedNow(basePfn + record.pages - 1) !== undefined;
  }

  /** Whether this thread has the frame's buffer, without receiving it. */
  isReached(pfn: number): boolean {
    return this.#reached(pfn) !== undefined;
  }

  /** The deviceMemory of a frame, 0 if it is no device's. Throws as `countsOf`. */
  deviceOf(pfn: number): number {
    return this.countsOf(pfn).device;
  }

  /**
   * Owner times 4, plus type, of the device's memory that a frame is in; 0 if in none. The frame
   * may have ceased to exist: then 0, too.
   */
  deviceKindOf(pfn: number): number {
    try {
      return this.countsOf(pfn).deviceKind;
    } catch (error) {
      if (error instanceof HmmError && error.code === "ENXIO") return 0;
      throw error;
    }
  }

  /** Index of the frame's first word in its section's `i32`, `u32` and `f32`. */
  wordIndex(pfn: number): number {
    return this.of(pfn).wordIndex(pfn);
  }

  /** How often there was something new in `handles`. */
  get adoptions(): number {
    return this.#adoptions;
  }

  /** Handles of all sections that this thread knows. */
  get handles(): RamSectionHandle[] {
    return this.known().map(({ handle }) => handle);
  }

  /** Whether this thread has all of the machine's own RAM: without it no frame can be used. */
  get hasOwnRam(): boolean {
    return this.#records
      .all()
      .filter(({ kind }) => kind === SECTION_OWNED || kind === SECTION_ZERO)
      .every(({ basePfn }) => this.#reached(basePfn) !== undefined);
  }

  /** All that this thread has and that are there yet, by frame number. */
  known(): RamSection[] {
    const known: RamSection[] = [];
    for (let granule = 0; granule < this.#byGranule.length; granule++) {
      const section = this.#byGranule[granule];
      if (section === undefined || !this.#isCurrent(section)) continue;
      // Behind its pages is what it may grow to.
      if (section !== known.at(-1)) known.push(section);
      // Numbers of one that is there are nobody else's; of one that is gone they may be.
      granule = Math.max(granule, ((section.basePfn + section.pages) >>> GRANULE_SHIFT) - 1);
    }
    return known;
  }

  /** Remembers what this thread has now; the function that is returned restores it. */
  remember(): () => void {
    const before = [...this.#byGranule];
    return () => {
      this.#byGranule.splice(0, Infinity, ...before);
      this.#lastUnreached = undefined;
    };
  }

  /** The section that this very buffer object was added as, or undefined. */
  ofBuffer(buffer: SharedArrayBuffer): RamSection | undefined {
    return this.known().find((section) => section.buffer === buffer && this.#isCurrent(section));
  }

  /**
   * Lets this thread use the section. False: it could already, the section has been removed, or the
   * handle is of none: it may come from anywhere.
   */
  adopt(handle: RamSectionHandle): boolean {
    const record = this.#records.byPointer(handle.recordAt);
    if (record === undefined) return false;
    const { words } = this.#memory;
    // Read before the serial, which has changed if the record has been freed and perhaps used
    // again: without ramLock nothing else shows that.
    const recordPages = atomicLoad(words, record.at + SectionRecord.offset.pages) >>> 0;
    const reservedPages = atomicLoad(words, record.at + SectionRecord.offset.reservedPages) >>> 0;
    if (record.kind === SECTION_NONE || !isHandleOf(handle, record)) return false;
    const pages = Math.min(recordPages, pagesBehind(handle));
    if (this.#reached(handle.basePfn + pages - 1) !== undefined) return false;
    const beside = this.#byGranule.find((other) => other?.buffer === handle.buffer);
    const section = new RamSection(this.#memory, handle, beside?.whole);
    const first = handle.basePfn >>> GRANULE_SHIFT;
    while (this.#byGranule.length < first) this.#byGranule.push(undefined);
    for (let i = 0; i * GRANULE_PAGES < reservedPages; i++) this.#byGranule[first + i] = section;
    this.#adoptions++;
    return true;
  }

  /**
   * Sections of new buffers: the page of zeros, or RAM. ENOMEM when the host or the frame numbers
   * have no room.
   */
  *make(kind: SectionKind, pages: number): Task<Errno> {
    for (let made = 0; made < pages;) {
      const frames =
        makeFrameBuffer(Math.min(BUFFER_PAGES_MAX, pages - made) * PAGE_BYTES) ??
        makeFrameBuffer(Math.min(SECTION_PAGES_MAX, pages - made) * PAGE_BYTES);
      if (frames === undefined) return ENOMEM;
      const bufferPages = frames.buffer.byteLength / PAGE_BYTES;
      for (let bufferPage = 0; bufferPage < bufferPages; bufferPage += SECTION_PAGES_MAX) {
        const ofSection = Math.min(SECTION_PAGES_MAX, bufferPages - bufferPage);
        const place = { pages: ofSection, reservedPages: ofSection, bufferPage };
        const section = yield* this.#add(kind, frames, place);
        if (typeof section === "number") return section;
      }
      made += bufferPages;
    }
    return 0;
  }

  /**
   * A user's own buffer becomes a section, in place; whole pages only, a rest at the end stays
   * outside. Frame numbers are kept for `maxPages`, or what a growable buffer can grow to. Returns
   * the first frame, or EINVAL (no shared buffer, less than a page), EEXIST (added before: see
   * `ofBuffer`), ENOMEM. The first frame is stored at word `note` of the heap, if there is such a
   * word, in the row of stores that makes the section.
   */
  *add(buffer: SharedArrayBuffer, maxPages?: number, note: number = 0): Task<number> {
    const measured = measureBuffer(buffer, maxPages);
    if (typeof measured === "number") return measured;
    if (this.ofBuffer(buffer) !== undefined) return EEXIST;
    return yield* this.#addUser({ buffer, memory: undefined }, measured, note);
  }

  /** As `add`, of a new buffer of `pages` pages. The first frame, or ENOMEM. */
  *addNew(pages: number, note: number = 0): Task<number> {
    const frames = pages > USER_PAGES_MAX ? undefined : makeFrameBuffer(pages * PAGE_BYTES);
    if (frames === undefined) return ENOMEM;
    return yield* this.#addUser(frames, { pages, reservedPages: pages }, note);
  }

  *#addUser(frames: FrameBuffer, place: BufferPages, note: number): Task<number> {
    const section = yield* this.#add(SECTION_USER, frames, place, note);
    if (typeof section === "number") return section;
    this.onSection?.(section.handle);
    return section.basePfn;
  }

  /**
   * A device's memory becomes a section. Its first frame, or ENOMEM. `device` and `table`: its
   * deviceMemory, which learns the number (`note`) before another thread can, and its frame table.
   */
  *addDevice(frames: FrameBuffer, device: DeviceMemory, note: number): Task<number> {
    const pages = frames.buffer.byteLength / PAGE_BYTES;
    const section = yield* this.#add(
      SECTION_DEVICE,
      frames,
      { pages, reservedPages: pages },
      note,
      device,
    );
    if (typeof section === "number") return section;
    this.onSection?.(section.handle);
    return section.basePfn;
  }

  /**
   * A user's section has grown to the length of `buffer` (a WebAssembly.Memory has a new buffer
   * object then). EINVAL if it may not: it only ever grows, and not past the numbers kept for it.
   */
  *extend(basePfn: number, buffer: SharedArrayBuffer): Task<Errno> {
    const measured = measureBuffer(buffer, undefined);
    if (typeof measured === "number") return measured;
    yield* this.#lock.lock();
    const record = this.#records.at(basePfn);
    const { pages } = measured;
    const fits =
      record?.kind === SECTION_USER && pages >= record.pages && pages <= record.reservedPages;
    if (fits) record.pages = pages;
    yield* this.#lock.unlock();
    if (!fits) return EINVAL;
    this.adopt({ ...this.of(basePfn).handle, buffer });
    this.onSection?.(this.of(basePfn).handle);
    return 0;
  }

  /**
   * Forgets a user's section, or a device's memory: frees its record and its numbers, and what
   * threads remember of it is stale from now on. The buffer is the user's again. EBUSY while one of
   * its frames is counted, EINVAL if there is no such section. In the same change the word `note`
   * of the heap becomes 0, if there is such a word.
   */
  *remove(basePfn: number, note: number = 0): Task<Errno> {
    yield* this.#lock.lock();
    const record = this.#records.at(basePfn);
    let result = EINVAL;
    if (record?.kind === SECTION_USER) result = this.#records.isCounted(record) ? EBUSY : 0;
    if (record?.kind === SECTION_DEVICE) result = 0; // D2 of device-frames.ts: the caller knows
    if (record !== undefined && result === 0) {
      this.#clear(record);
      if (note !== 0) undoStore(this.#memory, this.#lock.at, note, 0);
    }
    yield* this.#lock.unlock();
    return result;
  }

  /** Holding ramLock: undone if this thread dies with it. */
  #clear(record: SectionRecord): void {
    const memory = this.#memory;
    memory.undoLock = this.#lock.at;
    KIND.store(memory, record.at, SECTION_NONE);
    SERIAL.store(memory, record.at, record.serial + 1);
    DEVICE.store(memory, record.at, 0);
    DEVICE_TABLE.store(memory, record.at, 0);
    DEVICE_KIND.store(memory, record.at, 0);
  }

  /** What may fail is done before the lock is taken, so a failure changes nothing. */
  *#add(
    kind: SectionKind,
    { buffer, memory }: FrameBuffer,
    { pages, reservedPages, bufferPage = 0 }: BufferPages,
    note: number = 0,
    device?: DeviceMemory,
  ): Task<RamSection | Errno> {
    const hasTable = kind !== SECTION_USER && kind !== SECTION_DEVICE;
    const frames = hasTable ? makeBuffer(frameTableBytes(reservedPages)) : undefined;
    if (hasTable && frames === undefined) return ENOMEM;
    yield* this.#lock.lock();
    const record = this.#records.reserve(reservedPages);
    if (record !== undefined) {
      record.pages = pages;
      record.device = device?.at ?? 0;
      record.deviceTable = device?.table ?? 0;
      record.deviceKind = device === undefined ? 0 : device.owner * 4 + device.type;
      // Last: until then the record is free, whatever else is in it, also if this thread dies.
      publish(this.#memory.words, record, kind, note);
    }
    yield* this.#lock.unlock();
    if (record === undefined) return ENOMEM;
    const { at: recordAt, serial, basePfn } = record;
    this.adopt({ recordAt, serial, basePfn, buffer, memory, bufferPage, frames });
    return this.of(basePfn);
  }

  /** The section of a frame, if this thread has it in that length. */
  #reached(pfn: number): RamSection | undefined {
    const section = this.#byGranule[pfn >>> GRANULE_SHIFT];
    return section !== undefined &&
      pfn - section.basePfn < section.pages &&
      this.#isCurrent(section)
      ? section
      : undefined;
  }

  #isCurrent(section: RamSection): boolean {
    return (
      this.#memory.words[section.handle.recordAt + SectionRecord.offset.serial]! >>> 0 ===
      section.handle.serial
    );
  }

  #receive(pfn: number): RamSection {
    const { basePfn } = this.#records.ofFrame(pfn);
    if (this.#reachedNow(pfn) === undefined)
      this.receive?.(() => this.#reachedNow(pfn) !== undefined);
    const section = this.#reached(pfn);
    if (section === undefined) throw new BufferNotHere(basePfn);
    return section;
  }

  /** As `#reached`, after a growable buffer's new length has been read. */
  #reachedNow(pfn: number): RamSection | undefined {
    const known = this.#byGranule[pfn >>> GRANULE_SHIFT];
    if (known !== undefined) this.adopt(known.handle);
    return this.#reached(pfn);
  }

  /**
   * The record of a frame whose section this thread lacks. When a mapping is unmapped, frames of
   * one section follow each other, so the last record is tried first.
   */
  #unreached(pfn: number): UnreachedSection {
    const last = this.#lastUnreached;
    if (last !== undefined && last.record.serial === last.serial) {
      if (pfn >= last.basePfn && pfn < last.basePfn + last.record.pages) return last;
    }
    const record = this.#records.ofFrame(pfn);
    const { serial, basePfn } = record;
    this.#lastUnreached = { record, serial, basePfn, counts: countsOfRecord(this.#memory, record) };
    return this.#lastUnreached;
  }
}

interface BufferPages {
  readonly pages: number;
  readonly reservedPages: number;
  /** Where the section begins in the buffer. */
  readonly bufferPage?: number;
}

/**
 * The pages of a user's buffer, and the pages that it may grow to. EINVAL for what cannot be a
 * section.
 */
function measureBuffer(
  buffer: SharedArrayBuffer,
  maxPages: number | undefined,
): BufferPages | Errno {
  if (!(buffer instanceof SharedArrayBuffer)) return EINVAL;
  const pages = Math.floor(buffer.byteLength / PAGE_BYTES);
  const ownMaxPages = buffer.growable ? Math.floor(buffer.maxByteLength / PAGE_BYTES) : pages;
  const reservedPages = Math.max(pages, ownMaxPages, maxPages ?? 0);
  return pages === 0 || reservedPages > USER_PAGES_MAX || !Number.isInteger(reservedPages)
    ? EINVAL
    : { pages, reservedPages };
}

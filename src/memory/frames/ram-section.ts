/**
 * @module memory/frames/ram-section
 * A section: one SharedArrayBuffer whose pages are frames `basePfn`, `basePfn + 1`, ... , and its
 * frame table (Linux: `struct mem_section` and its `struct page`s). Which frames are free is
 * frame-allocator.ts's business; which sections there are, sections.ts's.
 *
 * A section's record lies in the kernel heap, the same for all threads. Its buffers reach a thread
 * by message only, so each thread makes a RamSection of its own from a RamSectionHandle.
 *
 * A user's buffer has no frame table: its references are counted all together, in the record
 * (frame-counts.ts). That of a device's memory is another one (device-frames.ts).
 *
 * Frame table, FRAME_WORDS words for each frame:
 *
 *     0..2  STATE, NEXT, PREV   the buddy system's (ramLock); STATE bit 8: it was handed out before
 *     3, 4  MAPPING, INDEX      for the layers above, by their rules; zeroed when it is handed out
 *     5     spare
 *     6     COUNT               references (atomic)
 *     7     PINS                of these, pins: the frame stays where and what it is (atomic)
 *
 * The counts of a free frame may be read (F2 of frame-refs.ts), the words before them not.
 *
 * Sections have at most 1 GiB. Those of the machine's own RAM share buffers of 2 GiB: what is found
 * by one array costs less to load than what is found by one of two (mmu/page-words.ts). Not more,
 * because the byte index of every frame in a buffer has 31 bits then.
 */

import type { SharedMemory } from "../../sync/shared-memory.ts";
import { numberWords } from "../../sync/runners/stepping/offered.ts";
import { Buddy } from "../heap/buddy.ts";
import { BulkMemory, type FrameBuffer, isMemoryOf } from "./bulk-memory.ts";
import { FrameCounts, PINS_AFTER_COUNT } from "./frame-counts.ts";
import type { Struct, StructView, WordArray } from "../layout/struct.ts";
import { array, pointer, struct, u32 } from "../layout/struct.ts";

export const PAGE_BYTES = 4096;
/** 32-bit words of a page. */
export const PAGE_WORDS = 1024;
/** The page of zeros (F3 of frame-refs.ts). */
export const ZERO_PFN = 0;
export const SECTION_PAGES_MAX: number = 2 ** 18;
/** Of a buffer that sections share: a multiple of SECTION_PAGES_MAX. */
export const BUFFER_PAGES_MAX: number = 2 ** 19;

const FRAME_SHIFT = 3;
export const FRAME_WORDS: number = 1 << FRAME_SHIFT;
export const FRAME_STATE = 0;
export const FRAME_MAPPING = 3;
export const FRAME_INDEX = 4;
const FRAME_SPARE = 5;
export const FRAME_COUNT = 6;
export const FRAME_PINS: number = FRAME_COUNT + PINS_AFTER_COUNT;
/** STATE: the frame has been allocated before, so it may hold anything. */
export const FRAME_USED_BEFORE = 0x100;

export type SectionKind = 0 | 1 | 2 | 3 | 4;
/** The record is free. */
export const SECTION_NONE: SectionKind = 0;
/** The one page of zeros, frame 0. */
export const SECTION_ZERO: SectionKind = 1;
/** The machine's own RAM. */
export const SECTION_OWNED: SectionKind = 2;
/** A user's buffer. Its frames are counted, all together, but never allocated and never freed. */
export const SECTION_USER: SectionKind = 3;
/** Memory of a device (device-frames.ts). Its frame table is in the kernel heap. */
export const SECTION_DEVICE: SectionKind = 4;

/** A device's frame table: words for each frame, COUNT first, then PINS. */
export const DEVICE_FRAME_WORDS = 4;
export const DEVICE_FRAME_COUNT = 0;

export interface SectionRecord extends StructView {
  kind: number;
  serial: number;
  basePfn: number;
  pages: number;
  reservedPages: number;
  born: number;
  users: number;
  pins: number;
  device: number;
  deviceTable: number;
  deviceKind: number;
  readonly buddy: WordArray;
}

export const SectionRecord: Struct<SectionRecord> = struct<SectionRecord>(
  "ramSection",
  {
    kind: u32(
      "ramLock",
      "0 free record, 1 zero page, 2 the machine's own RAM, 3 a user's buffer, 4 a device's memory",
    ),
    serial: u32(
      "ramLock",
      "changes when the record is freed, so that a thread's remembered section is known to be stale",
    ),
    basePfn: u32("ramLock", "first frame; a multiple of 512"),
    pages: u32("ramLock", "frames that are there; a user's section may be extended"),
    reservedPages: u32("ramLock", "frames that have a number"),
    born: u32(
      "ramLock",
      "1 for the machine's first section, then counting; kept when the record is freed",
    ),
    users: u32(
      "atomic",
      "of a user's buffer: references to its frames, all together; kept when the record is freed (0)",
    ),
    pins: u32("atomic", "of these, pins; right behind `users`, as in a frame table"),
    device: pointer("ramLock", "of a device's memory: its deviceMemory, else 0"),
    deviceTable: pointer("ramLock", "of a device's memory: its frame table, else 0"),
    deviceKind: u32("ramLock", "of a device's memory: its owner times 4, plus its type; else 0"),
    buddy: array(Buddy.WORDS, "ramLock", "free frames; of the machine's own RAM only"),
  },
  { embedded: true },
);

/** What another thread needs in order to use a section. Structured-cloneable. */
export interface RamSectionHandle extends FrameBuffer {
  /** Pointer of the section's record. */
  readonly recordAt: number;
  readonly serial: number;
  readonly basePfn: number;
  /** Where the section begins in its buffer, in pages. */
  readonly bufferPage: number;
  /** The frame table; undefined for a user's buffer and a device's memory. */
  readonly frames: SharedArrayBuffer | undefined;
}

/**
 * A handle as another thread has sent it, copied field by field; undefined for what has not its
 * shape. Whether there is such a section is for `Sections.adopt` to find out.
 */
export function readSectionHandle(value: unknown): RamSectionHandle | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const given = value as Partial<RamSectionHandle>;
  const { recordAt, serial, basePfn, bufferPage, buffer, frames } = given;
  const areNumbers = [recordAt, serial, basePfn, bufferPage].every(
    (number) => Number.isSafeInteger(number) && Number(number) >= 0,
  );
  if (!areNumbers || !(buffer instanceof SharedArrayBuffer)) return undefined;
  if (frames !== undefined && !(frames instanceof SharedArrayBuffer)) return undefined;
  return {
    recordAt: Number(recordAt),
    serial: Number(serial),
    basePfn: Number(basePfn),
    buffer,
    memory: isMemoryOf(given.memory, buffer) ? given.memory : undefined,
    bufferPage: Number(bufferPage),
    frames,
  };
}

/**
 * Whether the buffers of a handle can be those of the section in `record`. Which memory they are
 * cannot be seen: who has a handle is trusted with that (docs/SECURITY.md).
 */
export function isHandleOf(handle: RamSectionHandle, record: SectionRecord): boolean {
  const { kind, serial, basePfn, pages, reservedPages } = record;
  if (serial !== handle.serial || basePfn !== handle.basePfn) return false;
  const { frames, bufferPage } = handle;
  const behind = pagesBehind(handle);
  if (kind === SECTION_USER || kind === SECTION_DEVICE)
    return frames === undefined && bufferPage === 0 && behind > 0;
  if (frames === undefined || frames.byteLength < frameTableBytes(reservedPages)) return false;
  return behind >= pages;
}

/** Where references to the frames of a user's buffer, or of a device's memory, are counted. */
export function countsOfRecord(memory: SharedMemory, record: SectionRecord): FrameCounts {
  const { device, deviceTable, deviceKind, basePfn, reservedPages } = record;
  if (device === 0) return FrameCounts.together(memory, record.at + SectionRecord.offset.users);
  memory.ensure(deviceTable + reservedPages * DEVICE_FRAME_WORDS);
  const start = deviceTable + DEVICE_FRAME_COUNT;
  const ofDevice = { device, deviceKind };
  return FrameCounts.each(memory.words, start, DEVICE_FRAME_WORDS, basePfn, true, ofDevice);
}

/**
 * An explorer's number for a word of a frame table. These tables lie outside the heap, so the
 * numbers are below 0; a higher frame has lower ones.
 */
export function frameWord(pfn: number, word: number): number {
  return -(pfn * FRAME_WORDS + FRAME_WORDS) + word;
}

/**
 * An explorer's number for all data of a frame: that of the spare word in its table. So a step that
 * frees the frame touches its data, too.
 */
export function dataNumber(pfn: number): number {
  return frameWord(pfn, FRAME_SPARE);
}

/** Bytes of the frame table of a section. */
export function frameTableBytes(pages: number): number {
  return pages * FRAME_WORDS * 4;
}

/** Frames in a row, as one thread reaches them: by arrays of every kind over all of them. */
export class FrameArrays {
  /** How many frames. */
  readonly pages: number;
  readonly buffer: SharedArrayBuffer;
  readonly u8: Uint8Array;
  readonly i8: Int8Array;
  readonly u16: Uint16Array;
  readonly i16: Int16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly f32: Float32Array;
  readonly f64: Float64Array;
  readonly u64: BigUint64Array;
  readonly i64: BigInt64Array;

  /** Views of fixed length: a growable buffer may be longer than its section, and they are fast. */
  constructor(buffer: SharedArrayBuffer, startPage: number, pages: number) {
    const start = startPage * PAGE_BYTES;
    this.pages = pages;
    this.buffer = buffer;
    this.u8 = new Uint8Array(buffer, start, pages * PAGE_BYTES);
    this.i8 = new Int8Array(buffer, start, pages * PAGE_BYTES);
    this.u16 = new Uint16Array(buffer, start, pages * (PAGE_BYTES / 2));
    this.i16 = new Int16Array(buffer, start, pages * (PAGE_BYTES / 2));
    this.u32 = new Uint32Array(buffer, start, pages * PAGE_WORDS);
    this.i32 = new Int32Array(buffer, start, pages * PAGE_WORDS);
    this.f32 = new Float32Array(buffer, start, pages * PAGE_WORDS);
    this.f64 = new Float64Array(buffer, start, pages * (PAGE_BYTES / 8));
    this.u64 = new BigUint64Array(buffer, start, pages * (PAGE_BYTES / 8));
    this.i64 = new BigInt64Array(buffer, start, pages * (PAGE_BYTES / 8));
  }
}

/** One thread's view of a section. Immutable: an extended section gets a new one. */
export class RamSection extends FrameArrays {
  readonly handle: RamSectionHandle;
  readonly basePfn: number;
  /**
   * False for the zero page and users' buffers: their frames are never allocated and never freed.
   */
  readonly owned: boolean;
  /** All of the buffer that the section shares with others; else the section itself. */
  readonly whole: FrameArrays;
  /** What `whole` has before the section's first frame. */
  readonly wholePage: number;
  /** The frame table; empty for a user's buffer and a device's memory. */
  readonly frames: Int32Array;
  readonly counts: FrameCounts;
  /** To copy and clear pages, from byte `bulkByte` on. */
  readonly bulk: BulkMemory | undefined;

  /** `whole`: of another section of this thread that has the same buffer, if there is one. */
  constructor(memory: SharedMemory, handle: RamSectionHandle, whole?: FrameArrays) {
    const record = SectionRecord.at(memory, handle.recordAt);
    const { buffer, bufferPage } = handle;
    const pages = Math.min(record.pages, pagesBehind(handle));
    super(buffer, bufferPage, pages);
    this.handle = handle;
    this.basePfn = handle.basePfn;
    this.owned = record.kind === SECTION_OWNED;
    this.bulk = handle.memory === undefined ? undefined : BulkMemory.of(handle.memory);
    const isShared = this.owned && buffer.byteLength > pages * PAGE_BYTES;
    this.wholePage = isShared ? bufferPage : 0;
    this.whole = isShared
      ? (whole ?? new FrameArrays(buffer, 0, buffer.byteLength / PAGE_BYTES))
      : this;
    const firstPfn = handle.basePfn - bufferPage;
    numberWords(buffer, (word) => dataNumber(firstPfn + Math.floor(word / PAGE_WORDS)));
    if (handle.frames !== undefined)
      numberWords(handle.frames, (word) =>
        frameWord(this.basePfn + (word >> FRAME_SHIFT), word & (FRAME_WORDS - 1)),
      );
    this.frames = handle.frames === undefined ? new Int32Array(0) : new Int32Array(handle.frames);
    this.counts =
      handle.frames === undefined
        ? countsOfRecord(memory, record)
        : FrameCounts.each(this.frames, FRAME_COUNT, FRAME_WORDS, this.basePfn, this.owned);
  }

  /** Index of the frame's words in `frames`. Not of a user's buffer. */
  frameIndex(pfn: number): number {
    return (pfn - this.basePfn) * FRAME_WORDS;
  }

  /** The frame's first byte in the memory of `bulk`. */
  bulkByte(pfn: number): number {
    return (this.handle.bufferPage + (pfn - this.basePfn)) * PAGE_BYTES;
  }

  /** Index of the frame's first word in `i32`, `u32` and `f32`. */
  wordIndex(pfn: number): number {
    return (pfn - this.basePfn) * PAGE_WORDS;
  }
}

/** Whole pages of a section's buffer from the section's first one on. */
export function pagesBehind({ buffer, bufferPage }: RamSectionHandle): number {
  return Math.floor(buffer.byteLength / PAGE_BYTES) - bufferPage;
}

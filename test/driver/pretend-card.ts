/**
 * @module A driver that is not ours, made of the two public entries alone: a pretend card that adds
 * up numbers in an address space by DMA. It has a page table of CARD_PAGES entries, each a bus
 * address, in shared memory under the driver lock.
 *
 * The card's jobs run in its owner's thread. Its call-backs run in whichever thread changes a
 * mapping, which has loaded this module.
 */

import {
  DEFAULT_ENCODING,
  EAGAIN,
  EBUSY,
  EMFILE,
  ENOMEM,
  HmmMirror,
  HmmMirrorRecord,
  Mutex,
  NOT_MAPPED,
  PAGE_BYTES,
  array,
  embed,
  embedStruct,
  hmmMirrorForget,
  hmmMirrorRegister,
  hmmMirrorUnregister,
  hmmRangeAlloc,
  hmmRangeDmaMap,
  hmmRangeDmaUnmap,
  hmmRangeFree,
  hmmRangeValid,
  hmmRangeWaitUntilValid,
  mmOfRange,
  readFrame,
  registerMirrorOps,
  struct,
  u32,
  withHmmRange,
  type DmaDevice,
  type Errno,
  type HmmRange,
  type Machine,
  type Mm,
  type Struct,
  type StructView,
  type Task,
  type WordArray,
} from "../../src/driver.ts";

/** Entries of the card's page table. */
export const CARD_PAGES = 16;

/** Rounds of one fault before it is EBUSY. */
const ROUNDS_MAX = 100;

/** What the card's IOMMU adds to a frame number. */
const BUS_BASE = 1000;

export interface CardRecord extends StructView {
  readonly mirror: HmmMirrorRecord;
  readonly driverLock: Mutex;
  firstPage: number;
  readonly table: WordArray;
  releases: number;
}

export const CardRecord: Struct<CardRecord> = struct<CardRecord>("pretendCard", {
  mirror: embedStruct(HmmMirrorRecord, "hmm", "the mirror"),
  driverLock: embed(Mutex, "the table", "driverLock"),
  firstPage: u32("const", "the page that the table begins with"),
  table: array(CARD_PAGES, "driverLock", "bus address of page firstPage + i, 0 for none"),
  releases: u32("driverLock", "how often release was called"),
});

function recordOf({ machine, at }: HmmMirror): CardRecord {
  return CardRecord.at(machine.memory, CardRecord.containerOf(at, "mirror"));
}

/** The card cannot reach the pages any more. Holding the driver lock. */
function clear({ firstPage, table }: CardRecord, startPage: number, endPage: number): void {
  const end = Math.min(endPage - firstPage, CARD_PAGES);
  for (let i = Math.max(startPage - firstPage, 0); i < end; i++) table.set(i, 0);
}

export const CARD_OPS: number = registerMirrorOps("pretend card", {
  *invalidate(mirror, { startPage, endPage, blockable }) {
    const record = recordOf(mirror);
    if (blockable) yield* record.driverLock.lock();
    else if (!(yield* record.driverLock.tryLock())) return EAGAIN;
    clear(record, startPage, endPage);
    yield* record.driverLock.unlock();
    return 0;
  },
  *release(mirror) {
    const record = recordOf(mirror);
    yield* record.driverLock.lock();
    clear(record, 0, Infinity);
    record.releases++;
    yield* record.driverLock.unlock();
  },
  *orphaned(mirror) {
    yield* hmmMirrorForget(mirror);
    yield* mirror.machine.heap.free(CardRecord, recordOf(mirror).at);
  },
});

/** The recheck under the driver lock; a test puts in one that is left out. */
export type Recheck = (range: HmmRange) => Task<boolean>;

/** A card, as its owner's thread has it. */
export class PretendCard {
  readonly record: CardRecord;
  readonly mirror: HmmMirror;
  /** Bus addresses in use: what is mapped for DMA now. */
  readonly mapped: Set<number> = new Set<number>();
  readonly #machine: Machine;
  readonly #recheck: Recheck;
  readonly #addresses = new Float64Array(CARD_PAGES).fill(NOT_MAPPED);
  readonly #bus: DmaDevice = {
    mapPage: (pfn) => {
      this.mapped.add(BUS_BASE + pfn);
      return BUS_BASE + pfn;
    },
    unmapPage: (address) => void this.mapped.delete(address),
  };

  private constructor(machine: Machine, at: number, recheck: Recheck) {
    this.#machine = machine;
    this.#recheck = recheck;
    this.record = CardRecord.at(machine.memory, at);
    this.mirror = new HmmMirror(machine, this.record.mirror.at);
  }

  /** Makes a card for the pages from `firstPage` on, and registers it. The mm has a user. */
  static *open(
    machine: Machine,
    mm: Mm,
    firstPage: number,
    recheck: Recheck = hmmRangeValid,
  ): Task<PretendCard | Errno> {
    const at = yield* machine.heap.alloc(CardRecord);
    if (at === 0) return ENOMEM;
    const card = new PretendCard(machine, at, recheck);
    card.record.firstPage = firstPage;
    card.record.driverLock.init();
    card.mirror.init(CARD_OPS);
    yield* mm.mmapLock.downWrite();
    const errno = yield* hmmMirrorRegister(card.mirror, mm);
    yield* mm.mmapLock.upWrite();
    if (errno === 0) return card;
    yield* machine.heap.free(CardRecord, at);
    return errno;
  }

  /** Holding no lock; no job is under way. */
  *close(): Task<void> {
    yield* hmmMirrorUnregister(this.mirror);
    yield* this.#machine.heap.free(CardRecord, this.record.at);
  }

  /**
   * One job: reads the first 32-bit word of each of the first `values.length` pages. 0, EFAULT
   * where one is not mapped, EBUSY when its mapping does not come to rest, ENOMEM, EMFILE.
   */
  *read(values: Uint32Array): Task<Errno> {
    const pages = values.length;
    const range = yield* hmmRangeAlloc(this.#machine, {
      pfns: new Uint32Array(pages),
      defaultFlags: DEFAULT_ENCODING.flags.valid,
    });
    if (typeof range === "number") return range === EMFILE ? EMFILE : ENOMEM;
    const start = this.record.firstPage * PAGE_BYTES;
    const errno = yield* withHmmRange(range, this.mirror, start, start + pages * PAGE_BYTES, () =>
      this.#readRange(range, values),
    );
    yield* hmmRangeFree(range);
    return errno;
  }

  *#readRange(range: HmmRange, values: Uint32Array): Task<Errno> {
    let errno: Errno = 0;
    for (let i = 0; i < values.length && errno === 0; i++) {
      for (let round = 0; !(yield* this.#load(i, values)) && errno === 0; round++)
        errno = round < ROUNDS_MAX ? yield* this.#fault(range) : EBUSY;
    }
    yield* this.#unmap(range);
    return errno;
  }

  /** What the hardware does: false where the card's table has no entry. */
  *#load(i: number, values: Uint32Array): Task<boolean> {
    const { driverLock, table } = this.record;
    const bytes = new Uint8Array(4);
    yield* driverLock.lock();
    const address = table.get(i);
    const errno = address === 0 ? 0 : yield* readFrame(this.#machine, address - BUS_BASE, 0, bytes);
    yield* driverLock.unlock();
    if (errno !== 0) throw new Error(`the frame of page ${i} cannot be read: ${errno}`);
    values[i] = new DataView(bytes.buffer).getUint32(0, true);
    return address !== 0;
  }

  /** The fault loop: wait, read-begin and map, take the driver lock, recheck, program. */
  *#fault(range: HmmRange): Task<Errno> {
    yield* this.#unmap(range);
    if (!(yield* hmmRangeWaitUntilValid(range, Infinity))) return EBUSY;
    const { mmapLock } = mmOfRange(range);
    yield* mmapLock.downRead();
    const pages = yield* hmmRangeDmaMap(range, this.#bus, this.#addresses);
    yield* mmapLock.upRead();
    if (pages < 0) return pages === EBUSY ? 0 : pages;
    const { driverLock } = this.record;
    yield* driverLock.lock();
    if (yield* this.#recheck(range)) this.#program(range);
    yield* driverLock.unlock();
    return 0;
  }

  /** Holding the driver lock. */
  #program({ startPage, endPage }: HmmRange): void {
    for (let i = 0; i < endPage - startPage; i++) {
      const address = this.#addresses[i] ?? NOT_MAPPED;
      this.record.table.set(i, address === NOT_MAPPED ? 0 : address);
    }
  }

  /** The card forgets the range's pages, and the IOMMU too. */
  *#unmap(range: HmmRange): Task<void> {
    const { mmapLock } = mmOfRange(range);
    const { driverLock } = this.record;
    yield* mmapLock.downRead();
    yield* driverLock.lock();
    clear(this.record, range.startPage, range.endPage);
    hmmRangeDmaUnmap(range, this.#bus, this.#addresses, false);
    yield* driverLock.unlock();
    yield* mmapLock.upRead();
  }
}

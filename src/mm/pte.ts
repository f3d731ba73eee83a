/**
 * @module mm/pte
 * What one 32-bit page-table entry says. Follows Linux's `pgtable.h` and `swapops.h` in spirit; the
 * bits are ours.
 *
 *     31                                8 7 6  5       4       3        2     1     0
 *     +----------------------------------+---+-------+-------+--------+-----+-----+---------+
 *     | frame number (pfn), 24 bits      | 0 |TRACKED|SPECIAL|ACCESSED|DIRTY|WRITE|PRESENT=1|
 *     +----------------------------------+---+-------+-------+--------+-----+-----+---------+
 *     | payload of the kind, 24 bits     |     0     | WRITE |      kind     0..7 | PRESENT=0|
 *     +----------------------------------+-----------+-------+--------------------+---------+
 *
 * The word zero is "nothing here". Entries are read and changed atomically, one word at a time:
 *
 *   P1  None -> present is a compare-and-swap by a fault that holds the mmap lock at least for
 *       reading. The one that loses puts its frame.
 *   P2  Every change of a present entry that removes rights is made between the start and the end
 *       of an invalidation. Its frame is put only after the space's shootdown has been flushed.
 *   P3  Rights (WRITE, DIRTY, ACCESSED) are added by compare-and-swap from the value that was
 *       judged.
 */

/** Binary logarithm of PAGE_BYTES. */
export const PAGE_SHIFT = 12;
/** Bytes of a page, and the factor between page numbers and addresses. */
export const PAGE_BYTES = 4096;

export const PTE_PRESENT = 0x01;
export const PTE_WRITE = 0x02;
export const PTE_DIRTY = 0x04;
export const PTE_ACCESSED = 0x08;
/** The entry owns no count of the frame: the page of zeros, or memory that is not RAM. */
export const PTE_SPECIAL = 0x10;
/**
 * Write-protected because a device may hold a read copy: a CPU write must call the notifiers first.
 * The vma may well be writable.
 */
export const PTE_TRACKED = 0x20;

/** The flags of an entry whose page has been written. */
export const WRITTEN_RIGHTS: number = PTE_ACCESSED | PTE_WRITE | PTE_DIRTY;

export const PFN_SHIFT = 8;
/** Of a present entry: what does not say which page it is. */
const OTHER_FLAGS: number = (1 << PFN_SHIFT) - 1 - PTE_PRESENT - PTE_SPECIAL;

/** Of a non-present entry: the page may be written when it is back, or by the device. */
export const NON_PRESENT_WRITE = 0x10;

/** Kinds of a non-present entry, bits 1..3. */
export const KIND_NONE = 0;
export const KIND_SWAP = 1;
/**
 * The page is being moved: wait until the entry is another. Payload: the frame that it had, of
 * which the migration has the entry's count; the page of zeros if it had none. Y3 of
 * migrate/migrate-vma.ts.
 */
export const KIND_MIGRATION = 2;
/**
 * The page is in a device's memory that the CPU does not reach. Payload: the frame, of which the
 * entry has a count. WRITE: the device may write it.
 */
export const KIND_DEVICE_PRIVATE = 3;
/**
 * The page is in RAM, but kept from the CPU while a device works on it. Payload: the frame, of
 * which the entry keeps its count.
 */
export const KIND_DEVICE_EXCLUSIVE = 4;
/**
 * The frame is here, but the vma allows no access (mprotect to none). Payload: the frame, of which
 * the entry keeps its count.
 */
export const KIND_PROT_NONE = 5;
/** Present, and the entry owns a count of its frame. This value and the next are beyond 3 bits. */
export const KIND_FRAME = 8;
/** Present, with PTE_SPECIAL. */
export const KIND_SPECIAL = 9;

/** What an entry refers to. What it allows is in its flags. */
export type PteKind =
  | typeof KIND_NONE
  | typeof KIND_SWAP
  | typeof KIND_MIGRATION
  | typeof KIND_DEVICE_PRIVATE
  | typeof KIND_DEVICE_EXCLUSIVE
  | typeof KIND_PROT_NONE
  | typeof KIND_FRAME
  | typeof KIND_SPECIAL;

/** The frame that reads as zeros everywhere and is never written. */
export const ZERO_PFN = 0;

/** A present entry for `pfn` with the given flags (PTE_PRESENT is added). */
export function makePte(pfn: number, flags: number): number {
  return (pfn << PFN_SHIFT) | flags | PTE_PRESENT;
}

/** The frame of a present entry, or the payload of a non-present one. */
export function ptePfn(pte: number): number {
  return pte >>> PFN_SHIFT;
}

/** The kind of any entry. */
export function pteKind(pte: number): PteKind {
  if ((pte & PTE_PRESENT) !== 0) return (pte & PTE_SPECIAL) === 0 ? KIND_FRAME : KIND_SPECIAL;
  return ((pte >>> 1) & 7) as PteKind; // only makeNonPresent makes such entries
}

/** A non-present entry of `kind`. `flags`: 0 or NON_PRESENT_WRITE. */
export function makeNonPresent(kind: PteKind, payload: number, flags: number = 0): number {
  return (payload << PFN_SHIFT) | flags | (kind << 1);
}

/** Whether the entry lets the CPU read, or write, the frame. */
export function isAccessible(pte: number, isWrite: boolean): boolean {
  const wanted = isWrite ? PTE_PRESENT | PTE_WRITE : PTE_PRESENT;
  return (pte & wanted) === wanted;
}

/**
 * True when the entry owns one count of the frame `ptePfn(pte)`: every kind but KIND_NONE,
 * KIND_SWAP, KIND_MIGRATION and KIND_SPECIAL. By bits first, because a zap asks this of every page.
 */
export function holdsFrame(pte: number): boolean {
  if ((pte & PTE_PRESENT) !== 0) return (pte & PTE_SPECIAL) === 0;
  return pteKind(pte) > KIND_MIGRATION;
}

/** Whether the page has a frame, its own or one that it is being moved from. */
export function isResident(pte: number): boolean {
  return holdsFrame(pte) || (pteKind(pte) === KIND_MIGRATION && ptePfn(pte) !== ZERO_PFN);
}

/**
 * What a device-exclusive entry becomes when the CPU gets the page back: a present one. The frame
 * has no other entry, for it had none when it became exclusive and fork ends that.
 */
export function endExclusive(pte: number): number {
  return makePte(ptePfn(pte), WRITTEN_RIGHTS);
}

/** A present entry as it is once its frame is written: no device has a copy to drop. */
export function withWrite(pte: number): number {
  return (pte & ~PTE_TRACKED) | WRITTEN_RIGHTS;
}

/** Whether the entry is present, and `withWrite` would leave it as it is. */
export function isWritten(pte: number): boolean {
  const bits = PTE_PRESENT | PTE_TRACKED | WRITTEN_RIGHTS;
  return (pte & bits) === (bits & ~PTE_TRACKED);
}

/** Whether the entry is of KIND_FRAME, of the frame `pfn`. In loops over many pages. */
export function isOfFrame(pte: number, pfn: number): boolean {
  return (pte & ~OTHER_FLAGS) === ((pfn << PFN_SHIFT) | PTE_PRESENT);
}

/** The entry without the right to write, of any kind. */
export function withoutWrite(pte: number): number {
  return pte & ~((pte & PTE_PRESENT) === 0 ? NON_PRESENT_WRITE : PTE_WRITE);
}

/** The page of zeros, read-only. */
export const ZERO_PTE: number = makePte(ZERO_PFN, PTE_SPECIAL | PTE_ACCESSED);

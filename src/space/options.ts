/**
 * @module space/options
 * The options of an address space's operations, and how they become the core's requests. The core
 * checks addresses and lengths itself, as Linux does; here are the checks that only JavaScript
 * needs.
 */

import { PAGE_BYTES } from "../memory/ram.ts";
import { TASK_SIZE_PAGES } from "../mmu/radix-table.ts";
import {
  MADV_COLD,
  MADV_COLLAPSE,
  MADV_DONTNEED,
  MADV_FREE,
  MADV_HUGEPAGE,
  MADV_NOHUGEPAGE,
  MADV_NORMAL,
  MADV_PAGEOUT,
  MADV_POPULATE,
  MADV_POPULATE_READ,
  MADV_POPULATE_WRITE,
  MADV_RANDOM,
  MADV_SEQUENTIAL,
  MADV_WILLNEED,
} from "../mm/calls/madvise.ts";
import {
  MAP_ANYWHERE,
  MAP_FIXED_NOREPLACE,
  MAP_FIXED_REPLACE,
  type MmapRequest,
} from "../mm/calls/mmap.ts";
import type { MmLimits } from "../mm/lifetime/mm.ts";
import type { MremapRequest } from "../mm/calls/mremap.ts";
import { HUGE_ALWAYS, HUGE_MADVISE, HUGE_NEVER } from "../mm/vma/huge-vma.ts";
import { VM_READ, VM_WRITE } from "../mm/vma/vma.ts";
import {
  type ArgumentRule,
  type OptionRules,
  aBoolean,
  aText,
  anObject,
  checkArgument,
  oneOf,
  ruleOf,
  takeOptions,
  wholeNumber,
} from "../sync/argument-rules.ts";
import { type Syscall, refusalBy } from "./failures.ts";
import type { SeatOptions } from "./machine-seat.ts";
import type { SourceOption } from "./sources.ts";
import type { SharedWasmMemory } from "./user-buffers.ts";

/**
 * What a mapping's pages may be used for. There is no "write" alone, for it has no one meaning: on
 * x86 PROT_WRITE includes the right to read, on other machines it does not, and for a device
 * Linux's HMM decides again differently. So it is refused with EINVAL.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * const p = space.mmapSync(8192, { protection: "none" });
 * space.mprotectSync(p, 4096, "read-write"); // the second page is a guard: touching it throws
 * ```
 */
export type Protection = "none" | "read" | "read-write";

/**
 * Advice about memory for `AddressSpace.madvise`.
 *
 * - `"normal"`: nothing special; ends `"sequential"` and `"random"`.
 * - `"sequential"`, `"random"`: how pages will be used. Of a source much is read ahead, or nothing;
 *   a WebGPU device brings much along, and evicts it before other pages, or brings nothing along.
 * - `"willneed"`: pages of a source are read now, into half of the free RAM at most.
 * - `"dontneed"`: the contents are not needed any more. Private memory reads as zeros afterwards,
 *   other memory as what is behind it.
 * - `"free"`: the same of private anonymous memory (EINVAL of other memory).
 * - `"cold"`: pages of a source are the first to go when RAM is short. Devices give up what they
 *   have of the pages.
 * - `"pageout"`: pages of a source are written back where they are newer, and go now.
 * - `"hugepage"`, `"nohugepage"`: private memory is to have huge pages, of 2 MiB, or none. They
 * come
 *   with the next touch of memory that nobody has touched; what is there stays as it is.
 * - `"collapse"`: huge pages are made now of the pages that are there (EINVAL of memory that cannot
 *   have any; EAGAIN where pages are pinned, or a device's; ENOMEM: no frames in a row).
 * - `"populate-read"`, `"populate-write"`: pages are faulted in as by loads, or as by stores that
 *   change nothing; `"populate"`: the second where memory is private and writable, else the first.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * const p = space.mmapSync(8192);
 * space.u32.store(p, 1);
 * space.madviseSync(p, 4096, "dontneed");
 * console.log(space.u32.load(p)); // 0
 * space.madviseSync(p, 8192, "populate");
 * console.log(space.statsSync().residentBytes); // 8192
 * ```
 */
export type Advice =
  | "normal"
  | "sequential"
  | "random"
  | "willneed"
  | "dontneed"
  | "free"
  | "cold"
  | "pageout"
  | "hugepage"
  | "nohugepage"
  | "collapse"
  | "populate"
  | "populate-read"
  | "populate-write";

const ADVICE_NUMBERS: Readonly<Record<Advice, number>> = {
  normal: MADV_NORMAL,
  sequential: MADV_SEQUENTIAL,
  random: MADV_RANDOM,
  willneed: MADV_WILLNEED,
  dontneed: MADV_DONTNEED,
  free: MADV_FREE,
  cold: MADV_COLD,
  pageout: MADV_PAGEOUT,
  hugepage: MADV_HUGEPAGE,
  nohugepage: MADV_NOHUGEPAGE,
  collapse: MADV_COLLAPSE,
  populate: MADV_POPULATE,
  "populate-read": MADV_POPULATE_READ,
  "populate-write": MADV_POPULATE_WRITE,
};

/**
 * Bounds of one address space; its forks inherit them.
 *
 * @example
 * ```ts
 * import { AddressSpace, HmmError } from "hmm-ts";
 *
 * using space = AddressSpace.createSync({ limits: { mappedBytes: 2 ** 20 } });
 * try {
 *   space.mmapSync(2 ** 21);
 * } catch (error) {
 *   console.log(error instanceof HmmError && error.code); // ENOMEM
 * }
 * ```
 */
export interface AddressSpaceLimits {
  /**
   * Bytes that all mappings together may span (Linux: RLIMIT_AS). Default: the whole address range.
   */
  readonly mappedBytes?: number | undefined;
  /** Number of mappings (Linux: vm.max_map_count). Default 65,530. */
  readonly mappings?: number | undefined;
}

/**
 * Which mappings of an address space have huge pages, 2 MiB in one: those of private memory in
 * general, those that are advised so (`madvise(address, length, "hugepage")`), or none but explicit
 * ones.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * using space = AddressSpace.createSync({ hugePages: "always" });
 * const p = space.mmapSync(4 * 2 ** 20); // at a multiple of 2 MiB
 * space.u32.store(p, 1);
 * console.log(space.statsSync().residentBytes); // 2097152
 * ```
 */
export type HugePages = "always" | "madvise" | "never";

/**
 * How an address space and the machine below it are made.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * using space = AddressSpace.createSync({ ramBytes: 64 * 2 ** 20, heapBytes: 2 ** 20 });
 * console.log(space.statsSync().ram.totalBytes); // 67108864
 * ```
 */
export interface AddressSpaceOptions {
  /**
   * RAM of the machine in bytes, rounded up to pages. Reserved at once, committed by the host when
   * touched. Default 256 MiB.
   */
  readonly ramBytes?: number | undefined;
  /**
   * Most bytes that the machine's kernel heap (page tables, bookkeeping) may grow to. Default 64
   * MiB.
   */
  readonly heapBytes?: number | undefined;
  /**
   * Checks every lock and every pointer of the core, and read views for stray stores; several times
   * slower. Default false.
   */
  readonly debug?: boolean | undefined;
  /** What the space may map at most. Default: no limits but the machine's. */
  readonly limits?: AddressSpaceLimits | undefined;
  /** Which mappings have huge pages; forks inherit it. Default "madvise". */
  readonly hugePages?: HugePages | undefined;
}

/**
 * How `AddressSpace.mmap` maps.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * const buffer = new SharedArrayBuffer(4096);
 * // In place, at address 0: an offset in the buffer is an address.
 * space.mmapSync(4096, { address: 0, fixed: "noreplace", buffer });
 * space.u32.store(8, 5);
 * console.log(new Uint32Array(buffer)[2]); // 5
 * ```
 */
export interface MmapOptions {
  /**
   * Where: a hint, or with `fixed` the place, a multiple of 4096. 0 is a place like any other when
   * it is fixed.
   */
  readonly address?: number | undefined;
  /** Exactly at `address`: what is there is unmapped, or the call fails with EEXIST. */
  readonly fixed?: "replace" | "noreplace" | undefined;
  /** Default "read-write". */
  readonly protection?: Protection | undefined;
  /**
   * Parent and forked children see each other's stores. Default false; of a `buffer` always true.
   */
  readonly shared?: boolean | undefined;
  /** Maps this memory of the caller's in place, without a copy, instead of fresh zeroed memory. */
  readonly buffer?: SharedArrayBuffer | SharedWasmMemory | undefined;
  /**
   * Maps a file (a path, or an open FileHandle of Node) or memory of your own. Pages are read when
   * they are touched, and shared by all mappings of the source. With `shared`, stores are seen by
   * these, and written back by `msync`, by the unmap of the last mapping and at the end of the
   * space; without it they are copies of this space's own. Past the end of the source an access is
   * a SegmentationFault with signal "SIGBUS".
   */
  readonly source?: SourceOption | undefined;
  /**
   * An explicit huge mapping (Linux: MAP_HUGETLB): it consists of pages of 2 MiB, which it gets at
   * once and which are never split. Its length is rounded up to them, and calls that would cut one
   * in two fail with EINVAL. Private memory only. Default false.
   */
  readonly huge?: boolean | undefined;
  /** Where in `buffer` or `source` the mapping starts, in bytes, a multiple of 4096. Default 0. */
  readonly offsetBytes?: number | undefined;
}

/**
 * How `AddressSpace.mremap` resizes and moves.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * const p = space.mmapSync(4096);
 * space.u32.store(p, 1);
 * const q = space.mremapSync(p, 4096, 2 ** 20, { mayMove: true });
 * console.log(space.u32.load(q)); // 1
 * ```
 */
export interface MremapOptions {
  /** The mapping may go to another address when it cannot grow where it is. Default false. */
  readonly mayMove?: boolean | undefined;
  /** Move exactly there (with `mayMove`), unmapping what is there. */
  readonly to?: number | undefined;
  /**
   * Move (with `mayMove`, and the same old and new length), but keep the old mapping as well
   * (Linux: MREMAP_DONTUNMAP). In private memory the old mapping has no page left and reads as
   * zeros; in shared memory and buffers it has the same contents as the new one. Default false.
   */
  readonly keepOld?: boolean | undefined;
}

const DEFAULT_RAM_BYTES = 256 * 2 ** 20;
const DEFAULT_HEAP_BYTES = 64 * 2 ** 20;

const aCount: ArgumentRule = wholeNumber(1);
const PAGE_START: ArgumentRule = wholeNumber(0, undefined, PAGE_BYTES);
const PROTECTION: ArgumentRule = oneOf("none", "read", "read-write");

const SPACE_RULES: OptionRules<AddressSpaceOptions> = {
  ramBytes: aCount,
  heapBytes: aCount,
  debug: aBoolean,
  limits: anObject,
  hugePages: oneOf("always", "madvise", "never"),
};

const LIMIT_RULES: OptionRules<AddressSpaceLimits> = { mappedBytes: aCount, mappings: aCount };

const MMAP_RULES: OptionRules<MmapOptions> = {
  address: wholeNumber(0),
  fixed: oneOf("replace", "noreplace"),
  protection: aText, // protectionBits says more
  shared: aBoolean,
  buffer: ruleOf("a SharedArrayBuffer or a shared WebAssembly.Memory", (value) => {
    return typeof value === "object" && value !== null;
  }),
  source: ruleOf("an object with lengthBytes and read, a path, or an open FileHandle", (value) => {
    return typeof value === "string" || (typeof value === "object" && value !== null);
  }),
  offsetBytes: PAGE_START,
  huge: aBoolean,
};

const MREMAP_RULES: OptionRules<MremapOptions> = {
  mayMove: aBoolean,
  to: PAGE_START,
  keepOld: aBoolean,
};

/**
 * Throws HmmError EINVAL unless `address` begins a page and the length is a whole number of bytes,
 * at least `leastBytes`: what the core refuses as well, but with the value and its name.
 */
export function checkPages(
  syscall: Syscall,
  address: number,
  lengthBytes: number,
  leastBytes: number,
): void {
  const refuse = refusalBy(syscall, address);
  checkArgument(refuse, "the address", address, PAGE_START);
  checkArgument(refuse, "lengthBytes", lengthBytes, wholeNumber(leastBytes));
}

/** The machine's sizes, and the space's limits in pages and mappings. Throws HmmError EINVAL. */
export function seatOptions(given: AddressSpaceOptions): {
  readonly sizes: SeatOptions;
  readonly limits: MmLimits;
} {
  const refuse = refusalBy("create");
  const options = takeOptions<AddressSpaceOptions>(refuse, given, SPACE_RULES);
  const { ramBytes = DEFAULT_RAM_BYTES, heapBytes = DEFAULT_HEAP_BYTES, debug = false } = options;
  const { limits = {}, hugePages = "madvise" } = options;
  const taken = takeOptions<AddressSpaceLimits>(refuse, limits, LIMIT_RULES, "limits");
  return {
    sizes: { ramBytes: Math.ceil(ramBytes / PAGE_BYTES) * PAGE_BYTES, heapBytes, debug },
    limits: mmLimits(taken, hugePages),
  };
}

const HUGE_MODES: Readonly<Record<HugePages, number>> = {
  always: HUGE_ALWAYS,
  madvise: HUGE_MADVISE,
  never: HUGE_NEVER,
};

function mmLimits({ mappedBytes, mappings }: AddressSpaceLimits, hugePages: HugePages): MmLimits {
  return {
    hugeMode: HUGE_MODES[hugePages],
    ...(mappedBytes === undefined ? {} : { pages: Math.floor(mappedBytes / PAGE_BYTES) }),
    ...(mappings === undefined ? {} : { vmas: mappings }),
  };
}

/** A protection's VM_ bits. Throws HmmError EINVAL. */
export function protectionBits(syscall: Syscall, protection: Protection): number {
  if (protection === "none") return 0;
  if (protection === "read") return VM_READ;
  if (protection === "read-write") return VM_READ | VM_WRITE;
  const refuse = refusalBy(syscall);
  if ((protection as unknown) === "write")
    throw refuse(`a page that may be written but not read is not to be had; give "read-write"`);
  checkArgument(refuse, "the protection", protection, PROTECTION);
  return 0;
}

const ADVICE: ArgumentRule = oneOf(...Object.keys(ADVICE_NUMBERS));

/** An advice's number. Throws HmmError EINVAL. */
export function adviceNumber(advice: Advice): number {
  checkArgument(refusalBy("madvise"), "the advice", advice, ADVICE);
  return ADVICE_NUMBERS[advice];
}

function placementOf({ fixed, address }: MmapOptions): number {
  if (fixed === undefined) return MAP_ANYWHERE;
  if (address === undefined) throw refusalBy("mmap")("a fixed mapping has no address; give one");
  return fixed === "replace" ? MAP_FIXED_REPLACE : MAP_FIXED_NOREPLACE;
}

/** What a mapping is of, if it is not fresh memory. */
export type MappedMemory = Pick<MmapOptions, "buffer" | "source">;

/** The request, and what is mapped, which needs a task of its own. Throws HmmError EINVAL. */
export function mmapRequest(
  lengthBytes: number,
  given: MmapOptions,
): { readonly request: MmapRequest; readonly mapped: MappedMemory } {
  const refuse = refusalBy("mmap");
  checkArgument(refuse, "lengthBytes", lengthBytes, aCount);
  const options = takeOptions<MmapOptions>(refuse, given, MMAP_RULES);
  const { address = 0, offsetBytes = 0, buffer, source } = options;
  if (offsetBytes !== 0 && buffer === undefined && source === undefined)
    throw refuse("there are offsetBytes but no buffer and no source; give one of them");
  if (buffer !== undefined && source !== undefined)
    throw refuse("there are a buffer and a source; give one of them");
  if (source !== undefined && offsetBytes + lengthBytes > TASK_SIZE_PAGES * PAGE_BYTES)
    throw refuse(
      "offsetBytes and lengthBytes together are above 16 TiB; a source has 8 GiB at most",
    );
  if (buffer !== undefined && options.shared === false) {
    throw refuse("a buffer cannot be mapped privately; leave out shared, or copy it with write()");
  }
  const isBacked = buffer !== undefined || source !== undefined;
  if (options.huge === true && (isBacked || options.shared === true))
    throw refuse("huge is for private memory; leave out shared, buffer and source, or huge");
  const request = {
    lengthBytes,
    address,
    placement: placementOf(options),
    protection: protectionBits("mmap", options.protection ?? "read-write"),
    shared: options.shared ?? buffer !== undefined,
    bufferPfn: 0,
    huge: options.huge ?? false,
    offsetPages: offsetBytes / PAGE_BYTES,
  };
  return { request, mapped: { buffer, source } };
}

/** The request. Throws HmmError EINVAL. */
export function mremapRequest(
  address: number,
  oldLengthBytes: number,
  newLengthBytes: number,
  given: MremapOptions,
): MremapRequest {
  const refuse = refusalBy("mremap", address);
  checkArgument(refuse, "the address", address, PAGE_START);
  checkArgument(refuse, "oldLengthBytes", oldLengthBytes, wholeNumber(0));
  checkArgument(refuse, "newLengthBytes", newLengthBytes, aCount);
  const options = takeOptions<MremapOptions>(refuse, given, MREMAP_RULES);
  const { mayMove = false, keepOld = false, to } = options;
  return { address, oldLengthBytes, newLengthBytes, mayMove, to, keepOld };
}

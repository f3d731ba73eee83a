/**
 * @module space/failures
 * The texts of errors: for every operation and every errno that it can return, the state that it
 * means and the remedy. All such texts are here. The form is "Cannot <verb>: <state>; <remedy>".
 */

import {
  EACCES,
  EAGAIN,
  EBADF,
  EBUSY,
  EEXIST,
  EFAULT,
  EFBIG,
  EINTR,
  EINVAL,
  EIO,
  EMFILE,
  ENODEV,
  ENOMEM,
  ENOSPC,
  ENXIO,
  EPERM,
  type Errno,
  ESTALE,
  ETIMEDOUT,
  errnoName,
} from "../sync/errno.ts";
import type { Refuse } from "../sync/argument-rules.ts";
import { HmmError } from "../sync/errors.ts";

/** The operations of an address space, as an error's `syscall` names them. */
export type Syscall =
  | "create"
  | "attach"
  | "mmap"
  | "munmap"
  | "mprotect"
  | "mremap"
  | "msync"
  | "madvise"
  | "fork"
  | "read"
  | "write"
  | "access"
  | "section"
  | "view"
  | "maps"
  | "pagemap"
  | "smaps"
  | "stats"
  | "connect"
  | "dispose"
  | "run";

const VERBS: { readonly [S in Syscall]: string } = {
  create: "create the address space",
  attach: "attach to the address space",
  mmap: "map memory",
  munmap: "unmap memory",
  mprotect: "change the protection",
  msync: "write the mapping back",
  mremap: "resize or move the mapping",
  madvise: "take the advice",
  fork: "fork the address space",
  read: "read memory",
  write: "write memory",
  access: "access memory",
  section: "run the section",
  view: "open the view",
  maps: "list the mappings",
  pagemap: "list the pages",
  smaps: "list the mappings",
  stats: "gather the statistics",
  connect: "connect the thread",
  dispose: "dispose of the address space",
  run: "run the operation",
};

const TOO_MANY_OWNED =
  "this thread owns as many spaces and views as it may; dispose of some, or let another thread own them";
const NO_MEMORY =
  "RAM or kernel heap is used up; unmap something, or create the space with more ramBytes or heapBytes";
const BAD_START =
  "address or length is not valid; give an address that is a multiple of 4096, and a whole number of bytes, and in a mapping made with `huge` multiples of 2 MiB";
const BAD_RANGE =
  "address and length are not a range of whole pages; give an address that is a multiple of 4096 and a length above 0, below 16 TiB together, and in a mapping made with `huge` multiples of 2 MiB";

/**
 * What a source may say of itself; texts of EIO are theirs, too. By other numbers the core says
 * something of its own.
 */
export const STORE_ERRNOS: ReadonlySet<Errno> = new Set([
  EIO,
  ENOSPC,
  EBADF,
  EACCES,
  EPERM,
  EFBIG,
  EINTR,
  ETIMEDOUT,
  ESTALE,
]);

const TEXTS: { readonly [S in Syscall]?: ReadonlyMap<Errno, string> } = {
  create: new Map([
    [ENOMEM, "the kernel heap has no room for it; create it with more heapBytes"],
    [EMFILE, TOO_MANY_OWNED],
  ]),
  attach: new Map([
    [ESTALE, "all who used it have disposed of it; attach before the last of them does"],
    [EMFILE, TOO_MANY_OWNED],
  ]),
  mmap: new Map([
    [
      EINVAL,
      "length or address is not valid; give a length above 0, and for a fixed mapping an address that is a multiple of 4096, or of 2 MiB if it is `huge`, or is to replace a part of one that is",
    ],
    [
      EACCES,
      'the source cannot be written; map it privately, or with protection "read", or open it for writing',
    ],
    [EMFILE, TOO_MANY_OWNED],
    [EEXIST, 'something is mapped there; unmap it first, or use fixed: "replace"'],
    [
      ENOMEM,
      "no room, a limit is reached, or RAM or kernel heap is used up; map less, unmap something, or create the space with more",
    ],
  ]),
  munmap: new Map([
    [EINVAL, BAD_RANGE],
    [
      ENOMEM,
      "a mapping would become two, and the limit of mappings or the kernel heap is used up; unmap from one of its ends",
    ],
  ]),
  mprotect: new Map([
    [EINVAL, BAD_START],
    [
      EACCES,
      "the range has a shared mapping of a source that cannot be written; map the source privately, or open it for writing",
    ],
    [
      ENOMEM,
      "part of the range is not mapped, or a mapping cannot be split (a limit, or lack of memory); map the whole range first, or unmap something",
    ],
  ]),
  mremap: new Map([
    [
      EINVAL,
      "an address or length is not valid, or old and new place overlap; give page-aligned addresses, a new length above 0 (an old one of 0 for shared memory only), `to` and keepOld only with mayMove, and keepOld only with equal lengths; a mapping made with `huge` does not grow, and moves with `to` only",
    ],
    [
      EFAULT,
      "nothing is mapped at its start, or what is to grow or move does not lie inside one mapping; look at maps() and resize one mapping at a time",
    ],
    [
      ENOMEM,
      "it cannot grow there, a limit is reached, or memory is used up; allow it to move with mayMove, or unmap something",
    ],
    [EBUSY, "a write view of it is open, which holds its addresses; dispose of the view first"],
  ]),
  msync: new Map([
    [EINVAL, BAD_START],
    [
      ENOMEM,
      "part of the range is not mapped (the rest has been written back), or the kernel heap is used up; give a range that is mapped",
    ],
    [EMFILE, TOO_MANY_OWNED],
    [
      EIO,
      "the source could not be written (see cause), or the thread that serves it has ended; the data are kept: mend the source and call again",
    ],
  ]),
  madvise: new Map([
    [
      EINVAL,
      "a mapping of the range cannot take it, or does not allow the access; look at what the advice is for",
    ],
    [
      ENOMEM,
      "part of the range is not mapped (the advice was taken for the rest), or RAM or kernel heap is used up; give a range that is mapped, or unmap something",
    ],
    [
      EFAULT,
      "a page cannot be had: its source ends before it, or could not be read (see cause); do not go past the end, or mend the source",
    ],
    [
      EAGAIN,
      "pages are pinned by a view, or a device's, or there is no room for a further mapping; dispose of the view or bring the pages back, or unmap something",
    ],
    [EMFILE, TOO_MANY_OWNED],
  ]),
  fork: new Map([
    [ENOMEM, NO_MEMORY],
    [EMFILE, TOO_MANY_OWNED],
  ]),
  pagemap: new Map([[EINVAL, BAD_RANGE]]),
  read: new Map([[ENOMEM, NO_MEMORY]]),
  write: new Map([[ENOMEM, NO_MEMORY]]),
  view: new Map([
    [
      EFAULT,
      "part of the range is not mapped, or not with the right that the view needs; map it, or change its protection",
    ],
    [
      EBUSY,
      "its pages must be gathered in one place, and some are in use by another view or another address space; dispose of that first, or open smaller views",
    ],
    [EINVAL, "the range spans a buffer or a source of yours and other memory; open a view of each"],
    [EIO, "a page could not be read from its source; look at what its read function threw"],
    [
      ENOMEM,
      "not so many frames in a row are free, or the kernel heap is used up; open smaller views, or create the space with more ramBytes",
    ],
    [EMFILE, TOO_MANY_OWNED],
  ]),
};

const UNREACHABLE =
  "a buffer that another thread mapped has not arrived in this thread; let its event loop turn and try again, and in a browser connect the threads with connect()";

/** For a message: in hexadecimal, as maps and debuggers show addresses. */
function formatAddress(address: number): string {
  return address >= 0 ? `0x${address.toString(16)}` : String(address);
}

/** The error of an operation that failed with `errno`. */
export function failure(syscall: Syscall, errno: Errno, address?: number): HmmError {
  const texts = TEXTS[syscall];
  const ofStore = STORE_ERRNOS.has(errno) ? texts?.get(EIO) : undefined;
  const known = errno === ENXIO ? UNREACHABLE : (texts?.get(errno) ?? ofStore);
  return customFailure(
    syscall,
    errno,
    known ?? `the core answered ${errnoName(errno)}; this is a defect, please report it`,
    address,
  );
}

/**
 * The error of an operation with a text of its own, where that of the table would not do. `text` is
 * "<state>; <remedy>".
 */
export function customFailure(
  syscall: Syscall,
  errno: Errno,
  text: string,
  address?: number,
): HmmError {
  const isAddress = Number.isSafeInteger(address);
  const where = isAddress ? ` at ${formatAddress(Number(address))}` : "";
  const message = `Cannot ${VERBS[syscall]}${where}: ${text}`;
  return new HmmError(errno, syscall, message, isAddress ? address : undefined);
}

/** This thread may not change mappings: it cannot call the drivers that are to be told. */
export function lacksDrivers(syscall: Syscall, names: readonly string[], when: string): HmmError {
  const quoted = names.map((name) => `"${name}"`).join(", ");
  const why = `this thread lacks the code of drivers that are in use there (${quoted})`;
  return customFailure(syscall, ENODEV, `${why}; import their modules ${when}`);
}

/** Makes the EINVAL of an operation for an argument that its rule refuses. */
export function refusalBy(syscall: Syscall, address?: number): Refuse {
  return (text) => customFailure(syscall, EINVAL, text, address);
}

/** Returns a result of 0 or more; throws for a negative errno. */
export function unwrap(syscall: Syscall, result: number, address?: number): number {
  if (result < 0) throw failure(syscall, result, address);
  return result;
}

/** Every failure of every operation that has a text, as rows of docs/ERRORS.md. */
export function explainedFailures(): (readonly [syscall: string, code: string, text: string])[] {
  return Object.entries(TEXTS).flatMap(([syscall, texts]) =>
    Array.from(texts, ([errno, text]) => [syscall, errnoName(errno), text] as const),
  );
}

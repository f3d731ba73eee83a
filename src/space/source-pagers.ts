/**
 * @module space/source-pagers The two kinds of sources that a program can map, as the core's
 * pagers: its own code, and files of Node. Blocking code answers at once; code that returns a
 * promise answers later, from the event loop.
 */

import { type NodeFile, fileErrorCode } from "../host/node-file.ts";
import { PENDING, type PageTransfer, type Pager, SIZE_CHANGED } from "../mm/source/pager.ts";
import { EIO, type Errno, errnoName, errnoOf } from "../sync/errno.ts";
import { HmmError, SegmentationFault } from "../sync/errors.ts";
import { STORE_ERRNOS } from "./failures.ts";

/**
 * Memory of your own behind a mapping: what `AddressSpace.mmap` takes as `source`. Its pages are
 * read when they are touched, and shared by all mappings of the object. Its functions run in the
 * thread that mapped it, also for accesses of other threads: its event loop must turn, or it must
 * wait inside this library. They must not use the space, and must not keep the array. A function
 * that throws, or whose promise rejects, has failed: the access that needed a page is a
 * SegmentationFault with signal "SIGBUS"; pages that could not be written stay as they are, and are
 * written again by the next `msync`.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * const squares = {
 *   lengthBytes: 2 ** 20,
 *   read(offsetBytes: number, into: Uint8Array): void {
 *     const values = new Uint32Array(into.buffer, into.byteOffset, into.length / 4);
 *     for (let i = 0; i < values.length; i++) values[i] = (offsetBytes / 4 + i) ** 2;
 *   },
 * };
 * using space = AddressSpace.createSync();
 * const p = space.mmapSync(2 ** 20, { source: squares });
 * console.log(space.u32.load(p + 4 * 1000)); // 1000000
 * ```
 */
export interface MappingSource {
  /** Its size in bytes, at most 8 GiB. It is read again when the end of the source matters. */
  readonly lengthBytes: number;
  /** Fills `into` with the bytes from `offsetBytes` on, a multiple of 4096. It comes zeroed. */
  read(offsetBytes: number, into: Uint8Array): void | Promise<void>;
  /** Keeps the bytes of `from`. Without it, no shared mapping can be written (EACCES). */
  write?(offsetBytes: number, from: Uint8Array): void | Promise<void>;
}

/** A promise, or anything that has a `then`. */
function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value;
}

/** Ends a transfer that was PENDING. */
type Finish = (io: number, errno: Errno) => void;

/** What the sources of this thread have thrown, for the errors that come of it. */
export class SourceFailures {
  /** How often one has failed. */
  count = 0;
  #errno: Errno = 0;
  #cause: unknown;

  note(errno: Errno, cause: unknown): void {
    this.count++;
    this.#errno = errno;
    this.#cause = cause;
  }

  /**
   * Gives `error` its cause, if it comes of a failure. It is of an operation that began when
   * `count` was `since`.
   */
  explain(error: unknown, since: number): void {
    if (this.count === since || !(error instanceof HmmError) || error.cause !== undefined) return;
    const isOfSource =
      error instanceof SegmentationFault
        ? error.signal === "SIGBUS"
        : error.code === errnoName(this.#errno) || error.code === "EFAULT";
    if (isOfSource) error.cause = this.#cause;
  }
}

/** What went wrong last with one source. */
class FailureNote {
  cause: unknown;
  readonly #failures: SourceFailures;

  constructor(failures: SourceFailures) {
    this.#failures = failures;
  }

  /**
   * Of a read, whatever was thrown: other codes would be taken for what the core says of itself,
   * such as "ask again" (EAGAIN) or "past the end" (EFAULT).
   */
  ofRead(error: unknown): Errno {
    return this.#note(EIO, error);
  }

  /** Of a write, or of its size: the code that was thrown, if it is one of STORE_ERRNOS. */
  ofStore(error: unknown): Errno {
    const errno = errnoOf(fileErrorCode(error)) ?? EIO;
    return this.#note(STORE_ERRNOS.has(errno) ? errno : EIO, error);
  }

  #note(errno: Errno, error: unknown): Errno {
    this.cause = error;
    this.#failures.note(errno, error);
    return errno;
  }
}

export class UserPager implements Pager {
  readonly wantsZeroes = true;
  readonly failure: FailureNote;
  readonly #source: MappingSource;
  readonly #finish: Finish;

  constructor(source: MappingSource, finish: Finish, failures: SourceFailures) {
    this.#source = source;
    this.#finish = finish;
    this.failure = new FailureNote(failures);
  }

  readonly #reading: UserTransfer = {
    call: (at, part) => this.#source.read(at, part),
    errnoOf: (error) => this.failure.ofRead(error),
  };
  readonly #writing: UserTransfer = {
    call: (at, part) => this.#source.write?.(at, part),
    errnoOf: (error) => this.failure.ofStore(error),
  };

  read({ offsetBytes, storedBytes, parts, io }: PageTransfer): number {
    return this.#run(io, clip(parts, storedBytes), offsetBytes, this.#reading);
  }

  write({ offsetBytes, storedBytes, parts, io }: PageTransfer): number {
    return this.#run(io, clip(parts, storedBytes), offsetBytes, this.#writing);
  }

  sizeBytes(): number {
    try {
      const { lengthBytes } = this.#source;
      return Number.isSafeInteger(lengthBytes) && lengthBytes >= 0 ? lengthBytes : EIO;
    } catch (error) {
      return this.failure.ofStore(error);
    }
  }

  /** Calls `transfer` for each part in turn; from the first that returns a promise on, later. */
  #run(
    io: number,
    parts: readonly Uint8Array[],
    offsetBytes: number,
    transfer: UserTransfer,
  ): number {
    let at = offsetBytes;
    try {
      for (const [i, part] of parts.entries()) {
        const answer: unknown = transfer.call(at, part);
        at += part.length;
        if (!isPromise(answer)) continue;
        void this.#goOn(io, answer, parts.slice(i + 1), at, transfer);
        return PENDING;
      }
      return 0;
    } catch (error) {
      return transfer.errnoOf(error);
    }
  }

  async #goOn(
    io: number,
    first: PromiseLike<unknown>,
    rest: readonly Uint8Array[],
    offsetBytes: number,
    transfer: UserTransfer,
  ): Promise<void> {
    let errno: Errno = 0;
    try {
      await first;
      let at = offsetBytes;
      for (const part of rest) {
        // One after the other, as the code was written for.
        await transfer.call(at, part);
        at += part.length;
      }
    } catch (error) {
      errno = transfer.errnoOf(error);
    }
    this.#finish(io, errno);
  }
}

/** One of the source's two functions, and what an error of it is. */
interface UserTransfer {
  readonly call: (offsetBytes: number, part: Uint8Array) => void | Promise<void>;
  readonly errnoOf: (error: unknown) => Errno;
}

/** The first `lengthBytes` of the parts. */
function clip(parts: readonly Uint8Array[], lengthBytes: number): Uint8Array[] {
  const kept: Uint8Array[] = [];
  let left = lengthBytes;
  for (const part of parts) {
    if (left <= 0) break;
    kept.push(part.length <= left ? part : part.subarray(0, left));
    left -= part.length;
  }
  return kept;
}

export class FilePager implements Pager {
  readonly wantsZeroes = false;
  readonly failure: FailureNote;
  readonly #file: NodeFile;

  constructor(file: NodeFile, failures: SourceFailures) {
    this.#file = file;
    this.failure = new FailureNote(failures);
  }

  read({ offsetBytes, storedBytes, parts }: PageTransfer): number {
    try {
      let at = offsetBytes;
      let hasRead = 0;
      for (const part of parts) {
        const got = this.#file.read(at, part);
        if (got < part.length) part.fill(0, got);
        hasRead += got;
        at += part.length;
      }
      return hasRead === storedBytes ? 0 : SIZE_CHANGED;
    } catch (error) {
      return this.failure.ofRead(error);
    }
  }

  write({ offsetBytes, parts }: PageTransfer): Errno {
    try {
      let at = offsetBytes;
      for (const part of parts) {
        this.#file.write(at, part);
        at += part.length;
      }
      return 0;
    } catch (error) {
      return this.failure.ofStore(error);
    }
  }

  sizeBytes(): number {
    try {
      return this.#file.lengthBytes;
    } catch (error) {
      return this.failure.ofStore(error);
    }
  }
}

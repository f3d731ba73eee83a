/**
 * @module space/sources The sources that this thread serves on a machine: those that it has mapped,
 * until nothing maps them any more and all is written back. Each uses the seat (L1 of
 * space-hold.ts), so the thread stays on the machine as long as it serves.
 *
 *   P1  A source is served by one task of this thread (`serve`), which keeps no process alive.
 *   P2  After an unmap of this thread, `settle` lets go at once what nothing maps any more, so that
 *       the file has been written when the call returns. What other threads unmap, the serving task
 *       lets go.
 *   P3  An object is known as long as this thread serves it: mapped again meanwhile, it is the same
 *       source. A file is known on the whole machine (mm/source/source-table.ts).
 */

import { NodeFile, type OpenFile, fileErrorCode } from "../host/node-file.ts";
import type { Machine } from "../memory/machine.ts";
import type { Pager } from "../mm/source/pager.ts";
import { SourceServer } from "../mm/source/serve.ts";
import { claim, dropClaim, openSource } from "../mm/source/source-table.ts";
import { finishTransfer } from "../mm/source/transfer.ts";
import { sourceTable } from "../mm/vma/source-list.ts";
import {
  EACCES,
  EAGAIN,
  EFBIG,
  EINVAL,
  EIO,
  ENODEV,
  EOPNOTSUPP,
  type Errno,
  errnoOf,
} from "../sync/errno.ts";
import { HmmError } from "../sync/errors.ts";
import { runAsync } from "../sync/runners/run-async.ts";
import type { Task } from "../sync/tasks/task.ts";
import { formatValue } from "../sync/argument-rules.ts";
import { customFailure, unwrap } from "./failures.ts";
import { FilePager, type MappingSource, SourceFailures, UserPager } from "./source-pagers.ts";

/** What can be mapped: your own code, a file's path, or an open file. */
export type SourceOption = MappingSource | string | URL | OpenFile;

/** A source as the program gave it, opened. */
interface Opened {
  readonly pager: Pager & { readonly failure: { readonly cause: unknown } };
  readonly lengthBytes: number;
  readonly isWritable: boolean;
  readonly file: NodeFile | undefined;
}

/** A source that this thread serves. */
interface Served {
  readonly server: SourceServer;
  readonly opened: Opened;
  readonly object: SourceOption;
  /** Why the last write-back after the last unmap failed; 0. */
  errno: Errno;
}

/** What serving a source needs of this thread's seat. */
export interface ServingSeat {
  /** For each source: a use of the seat, until `drop`. */
  use(): void;
  drop(): void;
  /** Runs a task of this thread that keeps no process alive. Rejects if the machine has stopped. */
  runServing(task: Task<void>): Promise<void>;
}

export class Sources {
  readonly failures: SourceFailures = new SourceFailures();
  readonly #machine: Machine;
  readonly #seat: ServingSeat;
  readonly #served = new Map<number, Served>();

  constructor(machine: Machine, seat: ServingSeat) {
    this.#machine = machine;
    this.#seat = seat;
  }

  /**
   * The cache of the source, claimed until `release`, and served by this thread from now on. Throws
   * HmmError: EINVAL, ENODEV (no regular file), EFBIG, ENOMEM, EMFILE, EOPNOTSUPP (a file outside
   * of Node), or what the host says of the file, such as ENOENT.
   */
  *acquire(source: SourceOption): Task<number> {
    const table = yield* sourceTable(this.#machine);
    // A path may name another file by now: that is found out when it has been opened.
    const isNamed = typeof source === "string" || source instanceof URL;
    const known = isNamed ? undefined : this.#servedOf((served) => served.object === source);
    if (known !== undefined && (yield* this.#claimServed(known, table.lock))) return known;
    const opened = this.#open(source);
    try {
      return yield* this.#begin(source, opened);
    } catch (error) {
      if (this.#servedOf((served) => served.opened === opened) === undefined) opened.file?.close();
      throw error;
    }
  }

  /** Pairs with `acquire`. */
  *release(cache: number): Task<void> {
    yield* dropClaim(this.#machine, cache);
  }

  /** Whether this thread has any source: else there is nothing to settle. */
  get isServing(): boolean {
    return this.#served.size > 0;
  }

  /**
   * Lets go what nothing maps (P2). Returns the first failure of a write-back, for which the source
   * is kept.
   */
  *settle(): Task<HmmError | undefined> {
    let failed: HmmError | undefined;
    for (const served of Array.from(this.#served.values())) {
      const errno = yield* endOrLeave(served.server);
      if (errno === 0 || errno === EAGAIN) continue;
      served.errno = errno;
      failed ??= writeFailure("munmap", served, errno);
    }
    return failed;
  }

  #servedOf(isWanted: (served: Served) => boolean): number | undefined {
    for (const [cache, served] of this.#served)
      if (isWanted(served) && !served.server.isEnded) return cache;
    return undefined;
  }

  /** False: it has ended while this task waited. */
  *#claimServed(cache: number, lock: { lock(): Task<void>; unlock(): Task<void> }): Task<boolean> {
    const served = this.#served.get(cache);
    yield* lock.lock();
    const isThere = served !== undefined && !served.server.isEnded;
    if (isThere) yield* claim(this.#machine, cache);
    yield* lock.unlock();
    return isThere;
  }

  *#begin(object: SourceOption, opened: Opened): Task<number> {
    const machine = this.#machine;
    const { file, lengthBytes, isWritable } = opened;
    const cache = unwrapOpen(
      yield* openSource(machine, {
        lengthBytes,
        isWritable,
        ...(file === undefined
          ? {}
          : { file: { device: file.device, inode: file.inode, bornNs: file.bornNs } }),
      }),
    );
    // Another path of a file that this thread serves already.
    if (this.#served.get(cache)?.server.isEnded === false) {
      file?.close();
      return cache;
    }
    const server = yield* SourceServer.begin(machine, cache, opened.pager);
    if (typeof server === "number") {
      yield* dropClaim(machine, cache);
      unwrap("mmap", server);
    } else {
      const served: Served = { server, opened, object, errno: 0 };
      this.#served.set(cache, served);
      this.#seat.use();
      void this.#serve(cache, served);
    }
    return cache;
  }

  async #serve(cache: number, served: Served): Promise<void> {
    try {
      await this.#seat.runServing(serveUntilEnded(served));
    } catch {
      // The machine has stopped: every operation of the program says so.
    }
    served.opened.file?.close();
    if (this.#served.get(cache) === served) this.#served.delete(cache);
    this.#seat.drop();
  }

  #open(source: SourceOption): Opened {
    if (typeof source === "string" || source instanceof URL) return openFile(source, this.failures);
    if (typeof source !== "object" || source === null) throw badSource(source);
    if ("fd" in source && typeof source.fd === "number") return openFile(source, this.failures);
    if (!("read" in source) || typeof source.read !== "function") throw badSource(source);
    const { write } = source as { readonly write?: unknown };
    if (write !== undefined && typeof write !== "function")
      throw customFailure(
        "mmap",
        EINVAL,
        `the source's write is ${formatValue(write)}; give a function, or leave it out`,
      );
    const { lengthBytes } = source;
    if (!Number.isSafeInteger(lengthBytes) || lengthBytes < 0) {
      throw customFailure(
        "mmap",
        EINVAL,
        `the source's lengthBytes is ${formatValue(lengthBytes)}; give a whole number from 0 on`,
      );
    }
    const machine = this.#machine;
    const finish = (io: number, errno: Errno): void =>
      void runAsync(machine.memory, finishTransfer(machine, io, errno), "source").catch(() => {});
    const pager = new UserPager(source, finish, this.failures);
    return { pager, lengthBytes, isWritable: typeof source.write === "function", file: undefined };
  }
}

/** Answers requests until nothing maps the source any more and all of it is written back. */
function* serveUntilEnded(served: Served): Task<void> {
  const { server } = served;
  while (!server.isEnded) {
    yield* server.serve();
    const errno = yield* server.end();
    if (errno === 0 || errno === EAGAIN) continue;
    served.errno = errno;
    yield* server.waitUntilMapped();
  }
}

/**
 * Where the code answers later and this thread blocks, the write-back has begun all the same, and
 * the serving task sees to the end: EAGAIN.
 */
function* endOrLeave(server: SourceServer): Task<Errno> {
  try {
    return yield* server.end();
  } catch (error) {
    if (error instanceof HmmError && error.code === "EDEADLK") return EAGAIN;
    throw error;
  }
}

function badSource(source: unknown): HmmError {
  return customFailure(
    "mmap",
    EINVAL,
    `the source is ${formatValue(source)}; give an object with lengthBytes and read, a path, or an open FileHandle`,
  );
}

function unwrapOpen(result: number): number {
  if (result !== EFBIG) return unwrap("mmap", result);
  throw customFailure("mmap", EFBIG, "the source is longer than 8 GiB; map a shorter one");
}

/** A path or a number that cannot be one, such as with a zero in it, has no errno's name. */
function fileErrno(error: unknown): Errno {
  const code = fileErrorCode(error);
  return errnoOf(code) ?? (code.startsWith("ERR_") ? EINVAL : EIO);
}

function openFile(source: string | URL | OpenFile, failures: SourceFailures): Opened {
  let file: NodeFile | undefined;
  try {
    file =
      typeof source === "string" || source instanceof URL
        ? NodeFile.openPath(source)
        : NodeFile.ofHandle(source);
    if (file === undefined)
      throw customFailure("mmap", EOPNOTSUPP, "this host has no files; give a source of your own");
    if (!file.isRegular)
      throw customFailure("mmap", ENODEV, "the source is not a regular file; give a file");
    if (!file.isReadable)
      throw customFailure("mmap", EACCES, 'the file is not open for reading; open it with "r+"');
    const { lengthBytes, isWritable } = file;
    return { pager: new FilePager(file, failures), lengthBytes, isWritable, file };
  } catch (error) {
    file?.close();
    if (error instanceof HmmError) throw error;
    const errno = fileErrno(error);
    const failed = customFailure(
      "mmap",
      errno,
      `the file cannot be opened (${String(error)}); give one that exists and may be read`,
    );
    failed.cause = error;
    throw failed;
  }
}

/** The error of a write-back that failed; the data are kept. */
function writeFailure(syscall: "munmap", served: Served, errno: Errno): HmmError {
  const error = customFailure(
    syscall,
    errno,
    "it is unmapped, but what was stored could not be written back; the data are kept: map the same source again and call msync",
  );
  error.cause = served.opened.pager.failure.cause;
  return error;
}

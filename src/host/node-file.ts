/**
 * @module host/node-file A file of Node as a row of bytes: opened by path, or given as an open
 * FileHandle. Reads and writes block, and go to memory that threads share without a copy. A browser
 * has no such files.
 *
 * A file is known by device and inode, whatever its path is. A path is opened for reading and
 * writing if that is permitted, else for reading.
 */

type Fs = typeof import("node:fs");

const fs: Fs | undefined =
  typeof process === "object" && typeof process.getBuiltinModule === "function"
    ? process.getBuiltinModule("node:fs")
    : undefined;

/** An open file of `node:fs/promises`, or anything else with a file descriptor. */
export interface OpenFile {
  /** The number of the file descriptor. */
  readonly fd: number;
}

/** Codes of errors after which a file is opened for reading alone. */
const NOT_WRITABLE: ReadonlySet<string> = new Set(["EACCES", "EPERM", "EROFS", "ETXTBSY"]);

/** The code of an error that Node's file system threw. */
export function fileErrorCode(error: unknown): string {
  const code: unknown = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : "EIO";
}

export class NodeFile {
  readonly device: bigint;
  readonly inode: bigint;
  readonly bornNs: bigint;
  readonly isWritable: boolean;
  readonly #fs: Fs;
  readonly #fd: number;
  /** Keeps a FileHandle from being closed as garbage. */
  readonly #owner: OpenFile | undefined;

  private constructor(ofFs: Fs, fd: number, isWritable: boolean, owner: OpenFile | undefined) {
    const { dev, ino, birthtimeNs } = ofFs.fstatSync(fd, { bigint: true });
    const bornNs: unknown = birthtimeNs; // not of every host's
    this.device = dev;
    this.inode = ino;
    this.bornNs = typeof bornNs === "bigint" ? bornNs : 0n;
    this.isWritable = isWritable;
    this.#fs = ofFs;
    this.#fd = fd;
    this.#owner = owner;
  }

  /** Undefined where the host has no files. Throws what Node throws. */
  static openPath(path: string | URL): NodeFile | undefined {
    if (fs === undefined) return undefined;
    try {
      return NodeFile.#closeIfThrown(fs, fs.openSync(path, "r+"), true);
    } catch (error) {
      if (!NOT_WRITABLE.has(fileErrorCode(error))) throw error;
    }
    return NodeFile.#closeIfThrown(fs, fs.openSync(path, "r"), false);
  }

  static #closeIfThrown(ofFs: Fs, fd: number, isWritable: boolean): NodeFile {
    try {
      return new NodeFile(ofFs, fd, isWritable, undefined);
    } catch (error) {
      ofFs.closeSync(fd);
      throw error;
    }
  }

  /** A file that the caller has opened and keeps open; `close` leaves it so. */
  static ofHandle(handle: OpenFile): NodeFile | undefined {
    if (fs === undefined) return undefined;
    return new NodeFile(fs, handle.fd, mayWrite(fs, handle.fd), handle);
  }

  /** Whether it is a file, and no directory, pipe or device. */
  get isRegular(): boolean {
    return this.#fs.fstatSync(this.#fd).isFile();
  }

  /** Whether it is open for reading: a path is, a FileHandle of the caller's need not be. */
  get isReadable(): boolean {
    try {
      this.#fs.readSync(this.#fd, new Uint8Array(1), 0, 1, 0);
      return true;
    } catch (error) {
      if (fileErrorCode(error) !== "EBADF") throw error;
      return false;
    }
  }

  /** Now; others may change it. */
  get lengthBytes(): number {
    return this.#fs.fstatSync(this.#fd).size;
  }

  /** Fills `into` from `offsetBytes` on. Returns how many bytes there were. */
  read(offsetBytes: number, into: Uint8Array): number {
    let done = 0;
    while (done < into.length) {
      const got = this.#fs.readSync(this.#fd, into, done, into.length - done, offsetBytes + done);
      if (got === 0) break;
      done += got;
    }
    return done;
  }

  /** Writes all of `from` at `offsetBytes`. */
  write(offsetBytes: number, from: Uint8Array): void {
    for (let done = 0; done < from.length;)
      done += this.#fs.writeSync(this.#fd, from, done, from.length - done, offsetBytes + done);
  }

  close(): void {
    if (this.#owner === undefined) this.#fs.closeSync(this.#fd);
  }
}

/** A write of nothing is refused (EBADF) where the descriptor is for reading alone. */
function mayWrite(ofFs: Fs, fd: number): boolean {
  try {
    ofFs.writeSync(fd, new Uint8Array(1), 0, 0, 0);
    return true;
  } catch {
    return false;
  }
}

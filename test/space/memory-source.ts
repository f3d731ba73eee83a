/**
 * @module A source in memory that counts what is asked of it, and fails when it is told to.
 */

import type { MappingSource } from "../../src/index.ts";
import { PAGE } from "./fixture.ts";

export class MemorySource implements MappingSource {
  bytes: Uint8Array;
  reads = 0;
  writes = 0;
  readonly readPages: number[] = [];
  pagesWritten = 0;
  /** Thrown by every read and write. */
  failure: Error | undefined;

  constructor(lengthBytes: number) {
    this.bytes = MemorySource.#filled(lengthBytes);
  }

  static #filled(lengthBytes: number): Uint8Array {
    const bytes = new Uint8Array(lengthBytes);
    for (let i = 0; i < lengthBytes; i += 4)
      new DataView(bytes.buffer).setUint32(i, Math.imul(i + 1, 2654435761) >>> 0, true);
    return bytes;
  }

  get lengthBytes(): number {
    return this.bytes.length;
  }

  get pagesRead(): number {
    return this.readPages.length;
  }

  /** As if somebody else changed its size. */
  resize(lengthBytes: number): void {
    const fresh = MemorySource.#filled(lengthBytes);
    fresh.set(this.bytes.subarray(0, lengthBytes));
    this.bytes = fresh;
  }

  /** The word that it has there now. */
  wordAt(offsetBytes: number): number {
    return new DataView(this.bytes.buffer).getUint32(offsetBytes, true);
  }

  /** The same, for what was written. */
  stored(offsetBytes: number): number {
    return this.wordAt(offsetBytes);
  }

  read(offsetBytes: number, into: Uint8Array): void | Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    this.reads++;
    for (let at = 0; at < into.length; at += PAGE) this.readPages.push((offsetBytes + at) / PAGE);
    into.set(this.bytes.subarray(offsetBytes, offsetBytes + into.length));
  }

  write(offsetBytes: number, from: Uint8Array): void | Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    this.writes++;
    this.pagesWritten += Math.ceil(from.length / PAGE);
    this.bytes.set(from, offsetBytes);
  }
}

/** @module Short UTF-8 texts in shared words: names of threads, the message of a panic. */

import type { SharedMemory } from "./shared-memory.ts";

/** Writes as much of `text` as fits into `words` words at `at`; returns the bytes written. */
export function storeText(memory: SharedMemory, at: number, words: number, text: string): number {
  // TextEncoder refuses shared memory in browsers: encode beside it and copy.
  const scratch = new Uint8Array(words * 4);
  const { written } = new TextEncoder().encodeInto(text, scratch);
  new Uint8Array(memory.buffer, at * 4, scratch.length).set(scratch);
  return written;
}

/** Reads back what {@link storeText} wrote. */
export function loadText(memory: SharedMemory, at: number, lengthBytes: number): string {
  return new TextDecoder().decode(new Uint8Array(memory.buffer, at * 4, lengthBytes).slice());
}

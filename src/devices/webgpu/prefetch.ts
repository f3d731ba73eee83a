/**
 * @module devices/webgpu/prefetch
 * Adds to the pages that a pass has missed those that are worth bringing with them
 * (policy/prefetch.ts), as far as frames are free: prefetching evicts nothing. A fault that is
 * alone in its 2 MiB block is left alone.
 */

import { BLOCK_PAGES, growBlock } from "../policy/prefetch.ts";
import { type PageWant, WANT_PREFETCH, WANT_READ } from "./bring.ts";
import type { FramePool } from "./frame-pool.ts";

const wanted = new Uint8Array(BLOCK_PAGES);
const resident = new Uint8Array(BLOCK_PAGES);
const grown = new Uint8Array(BLOCK_PAGES);

/** Faults of a block that must be there for it to be grown. */
const FAULTS_MIN = 2;

export function addPrefetch(wants: Map<number, PageWant>, pool: FramePool): void {
  let room = pool.freeFrames - wants.size;
  if (room <= 0) return;
  const blocks = new Map<number, number[]>();
  for (const [page, want] of wants) {
    if (want !== WANT_READ) continue;
    const block = page - (page % BLOCK_PAGES);
    const pages = blocks.get(block);
    if (pages === undefined) blocks.set(block, [page]);
    else pages.push(page);
  }
  for (const [block, pages] of blocks) {
    if (pages.length < FAULTS_MIN) continue;
    for (let i = 0; i < BLOCK_PAGES; i++) {
      wanted[i] = wants.has(block + i) ? 1 : 0;
      resident[i] = pool.frameOf(block + i) === 0 ? 0 : 1;
    }
    growBlock(wanted, resident, grown, true);
    for (let i = 0; i < BLOCK_PAGES && room > 0; i++) {
      if (grown[i] !== 1) continue;
      wants.set(block + i, WANT_PREFETCH);
      room--;
    }
  }
}

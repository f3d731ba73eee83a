/**
 * @module Sections of stores in Workers that last until they are told to end, while this thread
 * changes the mappings that they store to: each change returns, because the sections let go, and
 * after it no store reaches a frame that has become another page's.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import type { AddressSpace } from "../../src/index.ts";
import { FAR, MIB, PAGE, accountingOf, makeSpace } from "./fixture.ts";
import type { SectionRequest } from "./section-worker.ts";

/** What the sections store. Nobody else stores it. */
const STORED = 0x5ec7;
const PAGES = 16;
const ROUNDS = 60;

interface Storing {
  readonly begins: Promise<void>;
  readonly stored: Promise<number>;
}

function startSection(request: SectionRequest): Storing {
  const worker = new Worker(new URL("./section-worker.js", import.meta.url), {
    workerData: request,
  });
  let began: () => void = () => {};
  const begins = new Promise<void>((resolve) => (began = resolve));
  const stored = new Promise<number>((resolve, reject) => {
    let count = -1;
    worker.on("error", reject);
    worker.on("message", (message) =>
      message === "begins" ? began() : (count = message as number),
    );
    worker.on("exit", () => resolve(count)); // it has left the space
  });
  return { begins, stored };
}

/** All that is in fresh pages is zeros: no section stores to their frames. */
function requireFreshZeros(space: AddressSpace, round: number): void {
  const fresh = space.mmapSync(PAGES * PAGE, { address: FAR, fixed: "replace" });
  for (let i = 0; i < PAGES; i++) space.u8.store(fresh + i * PAGE + PAGE - 1, 0);
  const bytes = new Uint8Array(PAGES * PAGE);
  for (let look = 0; look < 3; look++) {
    space.readSync(fresh, bytes);
    const at = bytes.findIndex((byte) => byte !== 0);
    assert.equal(at, -1, `in round ${round} a fresh page holds ${bytes[at]} at ${at}`);
  }
  space.munmapSync(fresh, PAGES * PAGE);
}

/** Another change of the mapping in each round. */
function change(space: AddressSpace, start: number, round: number): void {
  const page = start + (round % PAGES) * PAGE;
  const kind = round % 6;
  if (kind === 0) space.munmapSync(start, PAGES * PAGE);
  else if (kind === 1) space.madviseSync(start, PAGES * PAGE, "dontneed");
  else if (kind === 2) {
    space.mprotectSync(start, PAGES * PAGE, "read");
    const before = new Uint8Array(PAGES * PAGE);
    const after = new Uint8Array(PAGES * PAGE);
    space.readSync(start, before);
    space.readSync(start, after);
    assert.ok(Buffer.from(before).equals(after), "a page that may only be read has changed");
    space.mprotectSync(start, PAGES * PAGE, "read-write");
  } else if (kind === 3) {
    using child = space.forkSync();
    const kept = child.u32.load(page);
    space.u32.store(page + PAGE - 4, round);
    assert.ok(kept === STORED || kept === 0, `the child found ${kept}`);
    assert.equal(child.u32.load(page), kept, "the child's page has changed");
  } else if (kind === 4) {
    using view = space.viewSync(start, PAGES * PAGE, "write");
    assert.equal(view.as(Uint8Array).length, PAGES * PAGE);
  } else {
    space.munmapSync(page, PAGE);
  }
  requireFreshZeros(space, round);
  space.mmapSync(PAGES * PAGE, { address: start, fixed: "replace" });
}

for (const [kind, storesBetween, threads] of [
  ["with a load after each store", 1, 2],
  ["of a million stores between two loads", 1_000_000, 1],
] as const) {
  test(`long sections ${kind} hold nobody up`, async () => {
    const witness = makeSpace({ ramBytes: 8 * MIB, debug: false });
    const before = accountingOf(witness);
    const space = witness.forkSync();
    const flag = space.mmapSync(PAGE);
    const start = space.mmapSync(PAGES * PAGE);
    const request = {
      handle: space.handle,
      start,
      pages: PAGES,
      flag,
      value: STORED,
      storesBetween,
    };
    const sections = Array.from({ length: threads }, () => startSection(request));
    for (const { begins } of sections) await begins;
    try {
      for (let round = 0; round < ROUNDS; round++) {
        change(space, start, round);
        if (round % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      space.u32.store(flag, 1);
    }
    for (const { stored } of sections) assert.ok((await stored) > 0);
    await space.dispose();
    assert.deepEqual(accountingOf(witness), before);
    await witness.dispose();
  });
}

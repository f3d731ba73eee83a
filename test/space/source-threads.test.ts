/**
 * @module Sources and several threads: Workers whose pages the main thread reads, whether its event
 * loop turns or it blocks in the library; one file mapped in two threads; the death of the thread
 * that has the code.
 */

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Worker } from "node:worker_threads";
import { type AddressSpace, HmmError, SegmentationFault } from "../../src/index.ts";
import { FAR, PAGE, accountingOf, makeSpace } from "./fixture.ts";
import { MemorySource } from "./memory-source.ts";
import type { SourcePart, SourceRequest } from "./source-worker.ts";

const folder = mkdtempSync(join(tmpdir(), "hmm-threads-"));
after(() => rmSync(folder, { recursive: true }));
const PAGES = 48;

interface Started {
  readonly worker: Worker;
  readonly result: Promise<unknown>;
}

function start(space: AddressSpace, part: SourcePart, address: number, path = ""): Started {
  const request: SourceRequest = { handle: space.handle, part, address, pages: PAGES, path };
  const worker = new Worker(new URL("./source-worker.js", import.meta.url), {
    workerData: request,
  });
  const result = new Promise<unknown>((resolve, reject) => {
    worker.once("message", (message: { readonly result: unknown }) => resolve(message.result));
    worker.once("error", reject);
    worker.once("exit", (code) => reject(new Error(`the Worker ended with ${code}`)));
  });
  return { worker, result };
}

function sumOf(source: MemorySource): number {
  let total = 0;
  for (let page = 0; page < PAGES; page++) total += source.wordAt(page * PAGE);
  return total;
}

test("a Worker's faults are served by the main thread while its event loop turns", async () => {
  const space = makeSpace();
  const source = new MemorySource(PAGES * PAGE);
  const p = space.mmapSync(PAGES * PAGE, { source });
  const parts = [start(space, "sum", p), start(space, "sum", p)];
  for (const { result } of parts) assert.equal(await result, sumOf(source));
  assert.equal(new Set(source.readPages).size, PAGES);
  assert.equal(source.readPages.length, PAGES, "a page was read twice");
  await space.dispose();
});

test("a Worker stores and writes back through the main thread, which blocks meanwhile", async () => {
  const space = makeSpace();
  const source = new MemorySource(PAGES * PAGE);
  const p = space.mmapSync(PAGES * PAGE, { source, shared: true });
  const gate = space.mmapSync(PAGE, { shared: true });
  const { result } = start(space, "fill", p);
  // It blocks inside the library, again and again, until all has been written.
  for (let round = 0; round < 2000 && source.stored((PAGES - 1) * PAGE) !== PAGES; round++) {
    space.u32.store(gate, round);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await result;
  for (let page = 0; page < PAGES; page++) assert.equal(source.stored(page * PAGE), page + 1);
  await space.dispose();
});

test("two threads map one file: one cache, and each writes its own back", async () => {
  const path = join(folder, "both");
  writeFileSync(path, new Uint8Array(PAGES * PAGE));
  const space = makeSpace();
  const p = space.mmapSync(PAGES * PAGE, { source: path, shared: true });
  for (let page = 0; page < PAGES; page++) space.u32.atomicAdd(p + page * PAGE, 1);
  const parts = [1, 2].map(() => start(space, "file", 0, path));
  for (const { result } of parts) await result;
  for (let page = 0; page < PAGES; page++) assert.equal(space.u32.load(p + page * PAGE), 3);
  await space.dispose();
  const words = new Uint32Array(new Uint8Array(readFileSync(path)).buffer);
  for (let page = 0; page < PAGES; page++) assert.equal(words[(page * PAGE) / 4], 3);
});

test("the thread that has the code dies: its pages stay, others are SIGBUS, msync is EIO", async () => {
  const space = makeSpace();
  const { worker, result } = start(space, "own", FAR);
  const sum = await result;
  await worker.terminate();
  let total = 0;
  for (let page = 0; page < PAGES; page++) total += space.u32.load(FAR + page * PAGE);
  assert.equal(total, sum);
  space.u32.store(FAR, 1);
  const isBus = (error: unknown): boolean =>
    error instanceof SegmentationFault && error.signal === "SIGBUS";
  assert.throws(() => space.u32.load(FAR + (2 * PAGES - 1) * PAGE), isBus);
  assert.throws(
    () => space.msyncSync(FAR, PAGE),
    (error) => error instanceof HmmError && error.code === "EIO",
  );
  assert.equal(space.u32.load(FAR), 1);
  space.munmapSync(FAR, 2 * PAGES * PAGE);
  const { usedPages, live } = accountingOf(space);
  assert.equal(usedPages, 0);
  for (const kind of ["source", "pageCache", "sourceServer", "mapper"])
    assert.equal(live[kind] ?? 0, 0, `${kind} is left`);
  await space.dispose();
});

test("the thread that serves a file dies: who maps it again serves it, with what was stored", async () => {
  const path = join(folder, "again");
  const words = new Uint32Array((2 * PAGES * PAGE) / 4).fill(77);
  writeFileSync(path, new Uint8Array(words.buffer));
  const space = makeSpace();
  const { worker, result } = start(space, "ownFile", FAR, path);
  await result;
  await worker.terminate();
  const last = (2 * PAGES - 1) * PAGE;
  assert.throws(() => space.u32.load(FAR + last), SegmentationFault);
  const p = space.mmapSync(2 * PAGES * PAGE, { source: path, shared: true });
  for (let page = 0; page < PAGES; page++)
    assert.equal(space.u32.load(p + page * PAGE), page + 1, `page ${page} has been stored to`);
  assert.equal(space.u32.load(FAR + last), 77, "it is read by this thread now");
  space.u32.store(FAR + last, 78);
  assert.equal(space.u32.load(p + last), 78);
  space.msyncSync(FAR, 2 * PAGES * PAGE);
  const written = new Uint32Array(new Uint8Array(readFileSync(path)).buffer);
  for (let page = 0; page < PAGES; page++) assert.equal(written[(page * PAGE) / 4], page + 1);
  assert.equal(written[last / 4], 78);
  space.u32.store(FAR, 79);
  space.munmapSync(p, 2 * PAGES * PAGE);
  space.munmapSync(FAR, 2 * PAGES * PAGE);
  assert.equal(new Uint32Array(new Uint8Array(readFileSync(path)).buffer)[0], 79);
  // What still waits for the file, in this thread, ends with a turn of the event loop.
  for (let turns = 0; turns < 1000 && accountingOf(space).live["source"] !== undefined; turns++)
    await new Promise((resolve) => setTimeout(resolve, 1));
  const { usedPages, live } = accountingOf(space);
  assert.equal(usedPages, 0);
  for (const kind of ["source", "pageCache", "sourceServer", "mapper"])
    assert.equal(live[kind] ?? 0, 0, `${kind} is left`);
  await space.dispose();
});

test("the thread that serves a file dies, and the file is deleted: another one with its inode is another one", async () => {
  const path = join(folder, "deleted");
  writeFileSync(path, new Uint8Array(2 * PAGES * PAGE));
  const space = makeSpace();
  const { worker, result } = start(space, "ownFile", FAR, path);
  await result;
  await worker.terminate();
  rmSync(path);
  const words = new Uint32Array((2 * PAGES * PAGE) / 4).fill(55);
  writeFileSync(path, new Uint8Array(words.buffer));
  const p = space.mmapSync(2 * PAGES * PAGE, { source: path, shared: true });
  for (let page = 0; page < 2 * PAGES; page++) assert.equal(space.u32.load(p + page * PAGE), 55);
  assert.equal(space.u32.load(FAR), 1, "the file that is deleted is mapped still");
  space.u32.store(p, 56);
  space.munmapSync(FAR, 2 * PAGES * PAGE);
  space.munmapSync(p, 2 * PAGES * PAGE);
  words[0] = 56;
  assert.deepEqual(new Uint32Array(new Uint8Array(readFileSync(path)).buffer), words);
  await space.dispose();
});

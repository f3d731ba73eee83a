/**
 * @module Whole pages in buffers of WebAssembly memories: copied and cleared as typed arrays do it,
 * also in a thread without WebAssembly, and of memories that are not what a handle says.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import {
  BulkMemory,
  type FrameBuffer,
  type SharedWasmMemory,
  isMemoryOf,
  makeFrameBuffer,
} from "../../src/memory/frames/bulk-memory.ts";
import { readSectionHandle } from "../../src/memory/frames/ram-section.ts";
import { diceOf } from "../dice.ts";
import { PAGE, makeMachine, run, seedFor } from "./harness.ts";

const PAGES = 256;

interface Bulk extends FrameBuffer {
  readonly memory: SharedWasmMemory;
}

function makeBulk(pages: number = PAGES): Bulk {
  const { buffer, memory } = makeFrameBuffer(pages * PAGE)!; // the host has room
  assert.ok(memory !== undefined, "this host shares WebAssembly memories");
  return { buffer, memory };
}

/** Node 20 has no modules of two memories. */
const HAS_TWO: boolean = Number(process.versions.node.split(".")[0]) >= 22;

test("bytes are copied and cleared as typed arrays do it", (t) => {
  const roll = diceOf(seedFor(t));
  const places = [makeBulk(), makeBulk()];
  const bulks = places.map(({ memory }) => BulkMemory.of(memory)!); // it was made here
  const bytes = places.map(({ buffer }) => new Uint8Array(buffer));
  const model = bytes.map((one) => {
    one.forEach((_, i) => (one[i] = roll(256)));
    return Uint8Array.from(one);
  });
  for (let i = 0; i < 400; i++) {
    const [to, from] = [roll(2), roll(2)];
    const [toPage, fromPage] = [roll(PAGES), roll(PAGES)];
    const pages = 1 + roll(Math.min(64, PAGES - Math.max(toPage, fromPage)));
    const [at, start, length] = [toPage * PAGE, fromPage * PAGE, pages * PAGE];
    if (roll(4) === 0) {
      bulks[to]!.clear(at, length);
      model[to]!.fill(0, at, at + length);
    } else if (bulks[to]!.copy(at, bulks[from]!, start, length)) {
      model[to]!.set(model[from]!.slice(start, start + length), at);
    } else {
      assert.ok(to !== from && !HAS_TWO, "only between two memories, in old hosts");
    }
  }
  for (const i of [0, 1]) assert.deepEqual(bytes[i], model[i]);
});

test("less than 1 MiB, and another length than a multiple of 64 KiB, is a plain buffer", () => {
  for (const pages of [240, 257]) {
    const made = makeFrameBuffer(pages * PAGE);
    assert.equal(made?.memory, undefined);
    assert.equal(made?.buffer.byteLength, pages * PAGE);
  }
  assert.equal(makeFrameBuffer(2 ** 50), undefined, "the host has no room");
});

test("what is no memory of that buffer is left out of a handle, and refused nowhere", () => {
  const { ram } = makeMachine({ ramPages: PAGES });
  const handle = ram.sections.of(512).handle;
  assert.ok(handle.memory !== undefined);
  assert.equal(readSectionHandle({ ...handle })?.memory, handle.memory);
  for (const memory of [undefined, null, 1, {}, makeBulk(512).memory])
    assert.equal(readSectionHandle({ ...handle, memory })?.memory, undefined);
  assert.ok(!isMemoryOf(new SharedArrayBuffer(PAGE), handle.buffer));
});

test("frames are copied and zeroed the same where a thread has no WebAssembly", async () => {
  const machine = makeMachine({ ramPages: PAGES });
  const { ram } = machine;
  const [from, to, cleared] = [1, 2, 3].map(() => run(machine, ram.allocFrame(false)));
  const words = ram.sections.of(from!);
  for (const pfn of [from!, to!, cleared!])
    words.i32.fill(pfn, words.wordIndex(pfn), words.wordIndex(pfn) + 1024);
  const worker = new Worker(fileURLToPath(new URL("./bulk-worker.js", import.meta.url)), {
    workerData: { handle: machine.handle, from, to, cleared },
  });
  const status = await new Promise((resolve) => worker.once("exit", resolve));
  assert.equal(status, 0);
  const at = (pfn: number, word: number): number | undefined =>
    words.i32[words.wordIndex(pfn) + word];
  for (const word of [0, 1023]) {
    assert.equal(at(to!, word), from);
    assert.equal(at(cleared!, word), 0);
  }
});

test("a thread makes so many memories that its host has addresses for others, and no more", () => {
  const all = Array.from({ length: 40 }, () => makeFrameBuffer(PAGES * PAGE));
  const memories = all.filter((one) => one?.memory !== undefined).length;
  assert.ok(memories > 20 && memories <= 32, `${memories} memories`);
  assert.ok(all.every((one) => one?.buffer.byteLength === PAGES * PAGE));
});

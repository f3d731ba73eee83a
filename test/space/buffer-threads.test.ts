/**
 * @module Users' buffers between threads: the others reach what one maps, in whatever order they
 * have attached, also during a blocking operation.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import type { AddressSpace } from "../../src/index.ts";
import type { BufferRequest } from "./buffer-worker.ts";
import { FAR, KIB, PAGE, makeSpace, makeWasmMemory } from "./fixture.ts";

class BufferThread {
  readonly #worker: Worker;

  constructor(space: AddressSpace) {
    this.#worker = new Worker(new URL("./buffer-worker.js", import.meta.url), {
      workerData: space.handle,
    });
  }

  ask(request: BufferRequest): Promise<unknown> {
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#worker.once("message", (message: { answer: unknown }) => resolve(message.answer));
      this.#worker.once("error", reject);
    });
    this.#worker.postMessage(request);
    return answer.finally(() => this.#worker.removeAllListeners("error"));
  }

  async leave(): Promise<void> {
    const exit = new Promise((resolve) => this.#worker.once("exit", resolve));
    await this.ask({ do: "leave" });
    await exit;
  }
}

test("a buffer that is mapped after a Worker attached reaches it: loads, stores and bulk copies", async () => {
  const space = makeSpace();
  const worker = new BufferThread(space);
  assert.match(String(await worker.ask({ do: "load", address: FAR })), /nothing is mapped/);
  const buffer = new SharedArrayBuffer(4 * PAGE);
  const words = new Uint32Array(buffer);
  words[0] = 5;
  space.mmapSync(4 * PAGE, { address: FAR, fixed: "replace", buffer });
  assert.equal(await worker.ask({ do: "load", address: FAR }), 5);
  await worker.ask({ do: "store", address: FAR + PAGE, value: 6 });
  assert.equal(words[1024], 6);
  words[2048] = 9;
  assert.equal(await worker.ask({ do: "read", address: FAR + 2 * PAGE }), 9);
  await worker.ask({ do: "unmap", address: FAR, lengthBytes: PAGE });
  assert.deepEqual(
    space.mapsSync().map(({ start }) => start),
    [FAR + PAGE],
  );
  await worker.leave();
  await space.dispose();
});

test("a buffer of a Worker reaches this thread, and outlives the Worker", async () => {
  const space = makeSpace();
  const worker = new BufferThread(space);
  assert.equal(await worker.ask({ do: "map", address: FAR, lengthBytes: 2 * PAGE }), FAR);
  assert.equal(space.u32.load(FAR + PAGE), 77);
  space.u32.store(FAR, 78);
  assert.equal(await worker.ask({ do: "load", address: FAR }), 78);
  await worker.leave();
  assert.equal(space.u32.load(FAR), 78);
  using view = space.viewSync(FAR, 2 * PAGE, "write");
  assert.equal(view.as(Uint32Array)[1], 77);
  space.munmapSync(FAR, 2 * PAGE);
  await space.dispose();
});

test("a Worker that attaches later, by an older handle, asks for what it missed", async () => {
  const space = makeSpace();
  const { handle } = space;
  const buffer = new SharedArrayBuffer(PAGE);
  new Uint32Array(buffer)[0] = 41;
  space.mmapSync(PAGE, { address: FAR, fixed: "replace", buffer });
  const worker = new BufferThread({ handle } as AddressSpace);
  assert.equal(await worker.ask({ do: "load", address: FAR }), 41);
  await worker.leave();
  await space.dispose();
});

test("a thread whose event loop does not turn receives it all the same", async () => {
  const space = makeSpace();
  const worker = new BufferThread(space);
  const words = new Int32Array(new SharedArrayBuffer(4));
  const woken = worker.ask({ do: "block", words });
  const other = new BufferThread(space);
  await other.ask({ do: "map", address: FAR, lengthBytes: PAGE });
  // Between the two no turn of this thread's event loop is needed either: it looks for itself.
  assert.equal(space.u32.load(FAR), 77);
  Atomics.store(words, 0, 1);
  Atomics.notify(words, 0);
  assert.equal(await woken, "woken");
  assert.equal(await worker.ask({ do: "load", address: FAR }), 77);
  await worker.leave();
  await other.leave();
  await space.dispose();
});

test("one buffer mapped by two threads is one memory, though each maps it for itself", async () => {
  const space = makeSpace();
  const worker = new BufferThread(space);
  const buffer = new SharedArrayBuffer(PAGE);
  space.mmapSync(PAGE, { address: FAR, fixed: "replace", buffer });
  await worker.ask({ do: "map mine", address: FAR + 64 * PAGE, buffer });
  space.u32.store(FAR, 3);
  assert.equal(space.u32.load(FAR + 64 * PAGE), 3);
  assert.equal(await worker.ask({ do: "load", address: FAR + 64 * PAGE }), 3);
  await worker.leave();
  await space.dispose();
});

test("a WebAssembly.Memory that grew is reached by other threads in its new length", async () => {
  const space = makeSpace();
  const memory = makeWasmMemory(1, 4);
  space.mmapSync(64 * KIB, { address: 0, fixed: "replace", buffer: memory });
  const worker = new BufferThread(space);
  await worker.ask({ do: "store", address: 4, value: 8 });
  memory.grow(1);
  space.mmapSync(128 * KIB, { address: 0, fixed: "replace", buffer: memory });
  await worker.ask({ do: "store", address: 100 * KIB, value: 9 });
  assert.deepEqual([space.u32.load(4), space.u32.load(100 * KIB)], [8, 9]);
  assert.equal(new Uint32Array(memory.buffer)[25 * KIB], 9);
  await worker.leave();
  await space.dispose();
});

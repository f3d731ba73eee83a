/**
 * @module Buffers of the user's that are mapped after other threads have attached: over the ports
 * of connected threads they arrive; without, an access says so and everything else works.
 */

import { AddressSpace, SoftwareDevice } from "../../src/index.ts";
import { check, checkEqual, pageTest } from "./page-cases.ts";
import { Peer, errorOf, nextTurn, until } from "./peers.ts";
import { makeWasmMemory } from "./web-assembly.ts";

const PAGE = 4096;

function firstWord(bytes: Uint8Array): number {
  return new Uint32Array(bytes.buffer)[0] ?? -1;
}

pageTest(
  "a buffer that a Worker maps reaches the page, and through the page the other Worker",
  async () => {
    const space = await AddressSpace.create({ ramBytes: 2 ** 20, debug: true });
    const [a, b] = await Promise.all([Peer.start(space), Peer.start(space)]);
    const p = await a.do("mapBuffer", 4 * PAGE, 77, 0);
    checkEqual(firstWord(await b.do("readLater", p, 4)), 77, "what the other Worker reads");
    const view = await space.view(p, 4 * PAGE, "read");
    checkEqual(view.as(Uint32Array)[0], 77, "what the page's view shows");
    await view.dispose();
    space.u32.store(p + 2 * PAGE, 78);
    checkEqual(await a.do("peekBuffer", 2048), 78, "what the page stored, in the buffer itself");

    const late = await Peer.start(space);
    checkEqual(await late.do("load", p), 77, "a thread that attaches now");
    await Promise.all([a.leave(), b.leave(), late.leave()]);
    checkEqual(space.u32.load(p), 77, "the page, after the thread has left that mapped it");
    await space.munmap(p, 4 * PAGE);
    await space.dispose();
  },
);

pageTest(
  "a WebAssembly.Memory that has grown, and is mapped in its new length, reaches a Worker",
  async () => {
    const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
    const peer = await Peer.start(space);
    const memory = makeWasmMemory(1, 8);
    await space.mmap(65_536, { buffer: memory, address: 0, fixed: "noreplace" });
    new Uint32Array(memory.buffer)[0] = 1;
    checkEqual(firstWord(await peer.do("readLater", 0, 4)), 1, "the first page");
    memory.grow(3);
    await space.mmap(4 * 65_536, { buffer: memory, address: 0, fixed: "replace" });
    new Uint32Array(memory.buffer)[3 * 16_384] = 2;
    checkEqual(firstWord(await peer.do("readLater", 3 * 65_536, 4)), 2, "a page that it grew by");
    await peer.leave();
    await space.dispose();
  },
);

pageTest("a device runs on buffers that were mapped after it was made", async () => {
  const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
  const peer = await Peer.start(space);
  const device = await SoftwareDevice.create(space, { memoryBytes: 4 * PAGE, threads: 2 });
  const kernel = device.kernel({
    module: new URL("./chain-kernels.js", import.meta.url),
    exportName: "sumChain",
  });
  const buffer = new SharedArrayBuffer(2 * PAGE);
  const mine = await space.mmap(2 * PAGE, { buffer });
  const theirs = await peer.do("mapBuffer", PAGE, 0, 0);
  // One chain of one link: the head in the page's buffer, the link in the Worker's, the sum in the
  // page's.
  await space.write(theirs, new Uint8Array(16));
  space.u32.store(theirs + 8, 41);
  new Float64Array(buffer)[0] = theirs;
  await kernel.dispatch(1, { args: [mine, mine + PAGE, mine + PAGE + 4] });
  checkEqual(new Uint32Array(buffer)[1024], 41, "the sum that the device stored in the buffer");
  await device[Symbol.asyncDispose]();
  await peer.leave();
  await space.dispose();
});

pageTest(
  "threads that are not connected: an access says what to do, and whatever needs no contents works",
  async () => {
    const space = await AddressSpace.create({ ramBytes: 2 ** 20, debug: true });
    const peer = await Peer.start(space, false);
    const at = 2 ** 32;
    await peer.do("mapBuffer", 4 * PAGE, 77, at);
    for (let i = 0; i < 20; i++) await nextTurn();
    const error = await errorOf(() => space.u32.load(at));
    checkEqual(error.code, "ENXIO", "a load of what has not arrived");
    check(/connect/.test(error.message), error.message);
    const plain = await space.mmap(PAGE);
    space.u32.store(plain, 1);
    checkEqual(space.u32.load(plain), 1, "memory beside it");

    await space.mprotect(at + PAGE, PAGE, "read");
    const child = await space.fork();
    await space.munmap(at, 2 * PAGE);
    checkEqual(
      (await child.maps()).filter(({ source }) => source === "buffer").length,
      3,
      "mappings in the child",
    );
    checkEqual(
      (await space.maps()).filter(({ source }) => source === "buffer").length,
      1,
      "mappings that are left",
    );
    await child.dispose();
    await peer.do("unmap", at, 4 * PAGE);
    checkEqual((await errorOf(() => space.u32.load(at))).code, "EFAULT", "a load when it is gone");
    await peer.leave();
    await space.dispose();
  },
);

pageTest("a thread that connects later asks for what it lacks", async () => {
  const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
  const peer = await Peer.start(space, false);
  const p = await peer.do("mapBuffer", PAGE, 5, 0);
  const { port1, port2 } = new MessageChannel();
  space.connect(port1);
  await peer.connect(port2);
  await until(async () => {
    try {
      return space.u32.load(p) === 5;
    } catch {
      await nextTurn();
      return false;
    }
  });
  await peer.leave();
  await space.dispose();
});

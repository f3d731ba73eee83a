/**
 * @module One address space in a browser: the page's main thread on the async runner, two Workers
 * that block, and a device made of two more. Everything that they do to it is seen by the others,
 * and the page's event loop turns all the time.
 */

import { AddressSpace, SoftwareDevice, type View } from "../../src/index.ts";
import { LINK_BYTES } from "./chain-kernels.ts";
import { check, checkEqual, pageTest } from "./page-cases.ts";
import { Peer, TurnCounter, codeOf, nextTurn } from "./peers.ts";
import { instantiateSwap, makeWasmMemory } from "./web-assembly.ts";

const PAGE = 4096;
const MIB: number = 2 ** 20;

interface Scene {
  readonly space: AddressSpace;
  readonly a: Peer;
  readonly b: Peer;
  readonly loop: TurnCounter;
}

/** A space with two peers attached; everything that `body` leaves behind is looked for. */
async function withPeers(
  note: (text: string) => void,
  body: (scene: Scene) => Promise<void>,
): Promise<void> {
  const space = await AddressSpace.create({ ramBytes: 16 * MIB, heapBytes: 16 * MIB, debug: true });
  const [a, b] = await Promise.all([Peer.start(space), Peer.start(space)]);
  const loop = new TurnCounter();
  await body({ space, a, b, loop });
  check(loop.turns > 0, "the event loop of the page has turned");
  note(loop.stop());
  await Promise.all([a.leave(), b.leave()]);
  checkEqual((await space.stats()).users, 1, "users that are left");
  for (const { start, end } of await space.maps()) await space.munmap(start, end - start);
  checkEqual((await space.stats()).ram.usedBytes, 0, "RAM that is left in use");
  await space.dispose();
}

async function readWords(space: AddressSpace, address: number, count: number): Promise<number[]> {
  const bytes = new Uint8Array(count * 4);
  await space.read(address, bytes);
  return Array.from(new Uint32Array(bytes.buffer));
}

pageTest("what one thread maps and writes the others read, in every way", (note) =>
  withPeers(note, async ({ space, a, b }) => {
    const own = await space.mmap(MIB);
    const theirs = await a.do("map", MIB);
    space.u32.store(own, 1);
    await a.do("store", own + 4, 2);
    await b.do("write", own + 8, new Uint8Array(new Uint32Array([3, 4]).buffer));
    checkEqual(String(await readWords(space, own, 4)), "1,2,3,4", "the page's mapping");
    await b.do("fillView", theirs, 3 * 1024, 1);
    checkEqual(space.u32.load(theirs + 3 * PAGE - 4), 3 * 1024, "what a view wrote");
    {
      const view = await space.view(theirs, 3 * PAGE, "read");
      checkEqual(view.as(Uint32Array)[1024], 1025, "the same through a view of the page's");
      await view.dispose();
    }
    await space.write(theirs, new Uint8Array(2 * PAGE));
    checkEqual(
      await a.do("sumView", theirs, 3 * 1024),
      (1024 * (2049 + 3072)) / 2,
      "what is left after a write",
    );
    const adds = [a.do("add", own, 1, 20_000), b.do("add", own, 1, 20_000)];
    for (let i = 0; i < 20_000; i++) {
      space.u32.atomicAdd(own, 1);
      if (i % 1000 === 0) await nextTurn();
    }
    await Promise.all(adds);
    checkEqual(space.u32.load(own), 60_001, "atomic additions of three threads");
  }),
);

pageTest(
  "fork: each side keeps what it had until it writes, whoever forks and whoever looks",
  (note) =>
    withPeers(note, async ({ space, a, b }) => {
      const p = await space.mmap(4 * PAGE);
      const shared = await space.mmap(PAGE, { shared: true });
      for (let i = 0; i < 4; i++) await a.do("store", p + i * PAGE, 10 + i);
      const child = await space.fork();
      child.u32.store(p, 20);
      space.u32.store(p + PAGE, 30);
      await b.do("store", p + 2 * PAGE, 40);
      const words = (of: AddressSpace): number[] =>
        [0, 1, 2, 3].map((i) => of.u32.load(p + i * PAGE));
      checkEqual(String(words(space)), "10,30,40,13", "the parent");
      checkEqual(String(words(child)), "20,11,12,13", "the child");
      checkEqual(await b.do("load", p + PAGE), 30, "the parent in a Worker");
      const grandchild = await AddressSpace.attach(await a.do("fork", p + 3 * PAGE, 50));
      checkEqual(String(words(grandchild)), "10,30,40,50", "the child of a Worker's fork");
      checkEqual(space.u32.load(p + 3 * PAGE), 13, "the parent after it");
      grandchild.u32.store(shared, 60);
      checkEqual(await b.do("load", shared), 60, "shared memory in the parent");
      checkEqual(child.u32.load(shared), 60, "shared memory in the first child");
      await Promise.all([child.dispose(), grandchild.dispose()]);
    }),
);

pageTest("unmap and protect end the other threads' translations at once", (note) =>
  withPeers(note, async ({ space, a, b }) => {
    const p = await space.mmap(2 * PAGE);
    space.u32.store(p, 1);
    const begun = [a.nextNote(), b.nextNote()];
    const loops = [a.do("loadUntilFault", p), b.do("loadUntilFault", p)];
    await Promise.all(begun);
    await space.munmap(p, PAGE);
    checkEqual(String(await Promise.all(loops)), "EFAULT,EFAULT", "what ended the loads");
    space.u32.store(p + PAGE, 2);
    await a.do("protect", p + PAGE, PAGE, "read");
    checkEqual(
      await codeOf(() => space.u32.store(p + PAGE, 3)),
      "EFAULT",
      "a store to what a Worker protected",
    );
    checkEqual(
      await codeOf(() => space.write(p + PAGE, new Uint8Array(4))),
      "EFAULT",
      "the same as a bulk write",
    );
    checkEqual(space.u32.load(p + PAGE), 2, "a load of it");
    await space.mprotect(p + PAGE, PAGE, "none");
    checkEqual(
      await codeOf(() => b.do("load", p + PAGE)),
      "EFAULT",
      "a Worker's load of what the page protected",
    );
    await space.mprotect(p + PAGE, PAGE, "read-write");
    await b.do("store", p + PAGE, 4);
    checkEqual(space.u32.load(p + PAGE), 4, "after all is allowed again");
    await b.do("unmap", p + PAGE, PAGE);
    checkEqual(
      await codeOf(() => space.u32.load(p + PAGE)),
      "EFAULT",
      "a load of what a Worker unmapped",
    );
  }),
);

pageTest(
  "a shared WebAssembly.Memory at address 0: compiled code, page and Workers use the same pointers",
  async (note) => {
    const space = await AddressSpace.create({ ramBytes: MIB, debug: true });
    const memory = makeWasmMemory(2, 16);
    const swap = instantiateSwap(memory);
    await space.mmap(2 * 65_536, { buffer: memory, address: 0, fixed: "noreplace" });
    const peer = await Peer.start(space);
    swap(70_000, 11);
    checkEqual(await peer.do("load", 70_000), 11, "what compiled code stored, in a Worker");
    await peer.do("store", 70_000, 12);
    checkEqual(swap(70_000, 13), 12, "what the Worker stored, in compiled code");
    checkEqual(space.u32.load(70_000), 13, "in the page");
    checkEqual((await space.stats()).ram.usedBytes, 0, "copied bytes");
    note("a WebAssembly.Memory takes no frame of the machine's RAM");
    await peer.leave();
    await space.dispose();
  },
);

/**
 * Chains whose links lie scattered over `pages` pages, written by two Workers and the page. Item
 * i's chain has i % 7 + 1 links of value i.
 */
async function writeChains(
  scene: Scene,
  chains: number,
): Promise<{ heads: number; links: number }> {
  const { space, a, b } = scene;
  const heads = await a.do("map", chains * 8);
  const links = await space.mmap(chains * 8 * LINK_BYTES);
  const headBytes = new Float64Array(chains);
  const linkBytes = new DataView(new ArrayBuffer(chains * 8 * LINK_BYTES));
  for (let chain = 0; chain < chains; chain++) {
    let next = 0;
    for (let i = 0; i <= chain % 7; i++) {
      const offset = (((chain * 8 + i) * 5003) % (chains * 8)) * LINK_BYTES;
      linkBytes.setFloat64(offset, next, true);
      linkBytes.setUint32(offset + 8, chain, true);
      next = links + offset;
    }
    headBytes[chain] = next;
  }
  await b.do("write", heads, new Uint8Array(headBytes.buffer));
  const half = linkBytes.byteLength / 2;
  await Promise.all([
    a.do("write", links, new Uint8Array(linkBytes.buffer.slice(0, half))),
    space.write(links + half, new Uint8Array(linkBytes.buffer.slice(half))),
  ]);
  return { heads, links };
}

pageTest(
  "a kernel follows their pointers on a software device, while Workers change mappings beside it",
  (note) =>
    withPeers(note, async (scene) => {
      const { space, a, b } = scene;
      const chains = 600;
      const { heads } = await writeChains(scene, chains);
      const sums = await space.mmap(chains * 4 + PAGE);
      const total = sums + chains * 4;
      const device = await SoftwareDevice.create(space, { memoryBytes: 16 * PAGE, threads: 2 });
      const kernel = device.kernel({
        module: new URL("./chain-kernels.js", import.meta.url),
        exportName: "sumChain",
      });
      const churn = [a.do("churn", 1, 100), b.do("churn", 2, 100)];
      const result = await kernel.dispatch(chains, { args: [heads, sums, total] });
      await Promise.all(churn);
      const expected = Array.from({ length: chains }, (_, chain) => chain * ((chain % 7) + 1));
      checkEqual(String(await readWords(space, sums, chains)), String(expected), "the sums");
      checkEqual(
        await a.do("load", total),
        expected.reduce((sum, one) => sum + one),
        "the device's atomic additions",
      );
      check(
        result.faults > 0 && result.bytesToDevice > 0,
        "the device took faults, and copied pages",
      );
      note(
        `${result.faults} device faults, ${result.batches} batches, ${result.invalidations} invalidations`,
      );

      const missing = await codeOf(() =>
        kernel.dispatch(1, { args: [heads + 2 ** 40, sums, total] }),
      );
      checkEqual(missing, "EFAULT", "a kernel that touches what is not mapped");
      const again = await kernel.dispatch(chains, { args: [heads, sums, total] });
      checkEqual(again.items, chains, "items of a dispatch after the failure");
      await device[Symbol.asyncDispose]();
    }),
);

pageTest("two Workers and the page change one address space at once", (note) =>
  withPeers(note, async ({ space, a, b, loop }) => {
    const before = loop.turns;
    const workers = [a.do("churn", 3, 400), b.do("churn", 4, 400)];
    for (let round = 0; round < 60; round++) {
      const p = await space.mmap(4 * PAGE);
      space.u32.store(p + PAGE, round);
      await space.mprotect(p + PAGE, PAGE, "read");
      const child = await space.fork();
      await space.munmap(p, 4 * PAGE);
      checkEqual(child.u32.load(p + PAGE), round, "what the child keeps");
      await child.dispose();
      const view: View = await space.view(await space.mmap(2 * PAGE), 2 * PAGE, "write");
      view.bytes.fill(round);
      await space.munmap(view.address, 2 * PAGE);
      await view.dispose();
    }
    await Promise.all(workers);
    check(loop.turns > before, "the event loop has turned beside the operations");
    checkEqual((await space.maps()).length, 0, "mappings that are left");
  }),
);

pageTest("an operation that waits for a Worker leaves the event loop turning", (note) =>
  withPeers(note, async ({ space, a, loop }) => {
    const gate = new Int32Array(new SharedArrayBuffer(4));
    const locked = a.nextNote();
    const held = a.do("holdMmapLock", gate);
    checkEqual(await locked, "locked", "the Worker");
    let isOver = false;
    const operation = space.mmap(PAGE).then((address) => {
      isOver = true;
      return address;
    });
    await loop.pass(200);
    checkEqual(isOver, false, "whether the operation ended while the lock was held");
    Atomics.store(gate, 0, 1);
    Atomics.notify(gate, 0);
    await held;
    space.u32.store(await operation, 1);
  }),
);

pageTest("the counter of turns would notice a thread that blocks", async () => {
  const loop = new TurnCounter();
  await loop.pass(3);
  const before = loop.turns;
  const endMs = performance.now() + 50;
  while (performance.now() < endMs);
  checkEqual(loop.turns, before, "turns while the page computes");
  await loop.pass(1);
  check(loop.longestMs >= 50, "the longest turn is the one that computed");
  loop.stop();
});

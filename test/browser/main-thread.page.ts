/**
 * @module The page's main thread may not block: what it may use, what it is told where it may not,
 * and what a typed access does that would have to wait.
 */

import { AddressSpace } from "../../src/index.ts";
import { check, checkEqual, pageTest } from "./page-cases.ts";
import { Peer, codeOf, errorOf, nextTurn, until } from "./peers.ts";

const PAGE = 4096;

pageTest(
  "every ...Sync form says that the thread may not block, and which form to use",
  async () => {
    const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
    const p = await space.mmap(PAGE);
    const view = await space.view(p, PAGE, "read");
    const bytes = new Uint8Array(4);
    const calls: Readonly<Record<string, () => unknown>> = {
      create: () => AddressSpace.createSync(),
      attach: () => AddressSpace.attachSync(space.handle),
      mmap: () => space.mmapSync(PAGE),
      munmap: () => space.munmapSync(p, PAGE),
      mprotect: () => space.mprotectSync(p, PAGE, "read"),
      mremap: () => space.mremapSync(p, PAGE, 2 * PAGE),
      madvise: () => space.madviseSync(p, PAGE, "dontneed"),
      fork: () => space.forkSync(),
      msync: () => space.msyncSync(p, PAGE),
      read: () => space.readSync(p, bytes),
      write: () => space.writeSync(p, bytes),
      view: () => space.viewSync(p, PAGE, "read"),
      maps: () => space.mapsSync(),
      pagemap: () => space.pagemapSync(p, PAGE),
      smaps: () => space.smapsSync(),
      stats: () => space.statsSync(),
      dispose: () => space.disposeSync(),
    };
    const inspection: object = Object.getPrototypeOf(AddressSpace.prototype) as object;
    const names = [AddressSpace, AddressSpace.prototype, inspection].flatMap((owner) =>
      Object.getOwnPropertyNames(owner),
    );
    const blocking = names.filter((name) => name.endsWith("Sync") && name !== "runSync").toSorted();
    checkEqual(
      String(
        Object.keys(calls)
          .map((name) => `${name}Sync`)
          .toSorted(),
      ),
      String(blocking),
      "the forms tested",
    );
    for (const [syscall, call] of Object.entries(calls)) {
      const error = await errorOf(call);
      checkEqual(error.code, "EOPNOTSUPP", `${syscall}Sync`);
      checkEqual((error as { syscall?: unknown }).syscall, syscall, "the error's syscall");
      check(
        /may not block; use the form that returns a promise/.test(error.message),
        error.message,
      );
    }
    checkEqual(await codeOf(() => view.disposeSync()), "EOPNOTSUPP", "view.disposeSync");
    checkEqual(view.bytes.length, PAGE, "a view whose disposal was refused");
    await view.dispose();
    await space.dispose();
  },
);

pageTest("a `using` block gives back in the background", async () => {
  const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
  const p = await space.mmap(PAGE);
  {
    using child = await space.fork();
    using view = await child.view(p, PAGE, "write");
    view.bytes[0] = 1;
    checkEqual((await child.stats()).users, 2, "users of the child: its object and the view");
  }
  await until(
    async () => (await space.stats()).heap.objects.find(({ name }) => name === "mm")?.live === 1,
  );
  checkEqual(space.u8.load(p), 0, "the parent's byte");
  await space.dispose();
});

pageTest("a typed access that faults works at once where nobody is in its way", async () => {
  const space = await AddressSpace.create({ ramBytes: 2 ** 20, debug: true });
  const p = await space.mmap(64 * PAGE);
  for (let i = 0; i < 64; i++) space.u32.store(p + i * PAGE, i);
  checkEqual((await space.stats()).residentBytes, 64 * PAGE, "resident bytes");
  checkEqual(
    await codeOf(() => space.u32.load(p + 64 * PAGE)),
    "EFAULT",
    "an access beside the mapping",
  );
  await space.dispose();
});

pageTest(
  "a fault that would have to wait throws EAGAIN, goes on by itself, and the access then succeeds",
  async () => {
    const space = await AddressSpace.create({ ramBytes: 2 ** 20, debug: true });
    const peer = await Peer.start(space);
    const p = await space.mmap(2 * PAGE);
    const gate = new Int32Array(new SharedArrayBuffer(4));
    const locked = peer.nextNote();
    const held = peer.do("holdMmapLock", gate);
    await locked;
    const error = await errorOf(() => space.u32.store(p, 5));
    checkEqual(error.code, "EAGAIN", "a store while a Worker holds the lock");
    check(/may not block/.test(error.message), error.message);
    for (let i = 0; i < 10; i++) await nextTurn();
    checkEqual(await codeOf(() => space.u32.load(p + PAGE)), "EAGAIN", "a load likewise");
    Atomics.store(gate, 0, 1);
    Atomics.notify(gate, 0);
    await held;
    await until(async () => (await space.pagemap(p, 2 * PAGE)).every(({ present }) => present));
    checkEqual(
      (await space.stats()).faults,
      2,
      "faults: both were those that went on by themselves",
    );
    space.u32.store(p, 6);
    checkEqual(space.u32.load(p), 6, "the access after that");
    checkEqual(space.u32.load(p + PAGE), 0, "the page that was only read");
    await peer.leave();
    await space.dispose();
  },
);

/**
 * @module How spaces are made, shared and disposed of: in every order, with old and new handles,
 * with limits; and the accounting is empty at the end.
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { AddressSpace, type AddressSpaceHandle, HmmError } from "../../src/index.ts";
import { dropMirrorOps, registerMirrorOps, useMirrorOps } from "../../src/hmm/mirror/mirror-ops.ts";
import { runAsync } from "../../src/sync/runners/run-async.ts";
import { type Task, park } from "../../src/sync/tasks/task.ts";
import {
  FAR,
  FORMS,
  MIB,
  PAGE,
  accountingOf,
  call,
  failsWith,
  makeSpace,
  mapLines,
  stampPages,
  withSpace,
} from "./fixture.ts";
import { startWorker } from "./space-threads.ts";
import { inside } from "../inside.ts";
import { DriverThread } from "../../src/space/driver-thread.ts";

const OPERATIONS = [
  ["mmap", PAGE],
  ["munmap", FAR, PAGE],
  ["mprotect", FAR, PAGE, "read"],
  ["mremap", FAR, PAGE, PAGE],
  ["madvise", FAR, PAGE, "normal"],
  ["fork"],
  ["read", FAR, new Uint8Array(1)],
  ["write", FAR, new Uint8Array(1)],
  ["view", FAR, PAGE, "read"],
  ["maps"],
  ["pagemap", FAR, PAGE],
  ["stats"],
] as const;

for (const form of FORMS) {
  describe(`lifetime, ${form} form`, () => {
    test("use after dispose is EBADF, everywhere", async () => {
      const space = makeSpace();
      space.mmapSync(PAGE, { address: FAR, fixed: "replace" });
      space.u32.store(FAR, 1);
      const { u32, f64 } = space;
      assert.equal(f64.load(FAR) > 0, true);
      await call(space, form, "dispose");
      for (const [name, ...args] of OPERATIONS) {
        const error = await failsWith("EBADF", () => call(space, form, name, ...args));
        assert.match(error.message, /disposed of/);
      }
      await failsWith("EBADF", () => u32.load(FAR));
      await failsWith("EBADF", () => u32.store(FAR, 1));
      await failsWith("EBADF", () => f64.load(FAR));
      await failsWith("EBADF", () => space.i8.atomicAdd(FAR, 1));
      await failsWith("EBADF", () => space.handle);
      await failsWith("EBADF", () => DriverThread.open(space));
    });

    test("an accessor that was used before dispose is closed too, though the space lives on and nothing was shot down", async () => {
      const space = makeSpace();
      const survivor = AddressSpace.attachSync(space.handle);
      space.mmapSync(8 * PAGE, { address: FAR, fixed: "replace" });
      const { u8, i16, u32, f32, f64 } = space;
      const accessors = [u8, i16, u32, f32, f64];
      for (const accessor of accessors) accessor.store(FAR + 8, 1);
      for (const accessor of accessors) accessor.load(FAR + 8);
      await call(space, form, "dispose");
      for (const accessor of accessors) {
        await failsWith("EBADF", () => accessor.load(FAR + 8));
        await failsWith("EBADF", () => accessor.store(FAR + 8, 1));
      }
      assert.equal(survivor.f64.load(FAR + 8), 1);
      await survivor.dispose();
    });

    test("disposing twice, in whatever form, is quiet", async () => {
      const space = makeSpace();
      await call(space, form, "dispose");
      await call(space, "promise", "dispose");
      await call(space, "sync", "dispose");
      space[Symbol.dispose]();
      await space[Symbol.asyncDispose]();
    });

    test("a family that comes and goes leaves empty accounting, in whatever order", async () => {
      const witness = makeSpace();
      const empty = accountingOf(witness);
      for (const order of [
        [0, 1, 2],
        [2, 1, 0],
        [1, 0, 2],
      ]) {
        const space = (await call(witness, form, "fork")) as AddressSpace;
        space.mmapSync(600 * PAGE, { address: FAR, fixed: "replace" });
        space.mmapSync(9 * PAGE, { address: 0, fixed: "replace", shared: true });
        stampPages(space, FAR, 600, 1);
        stampPages(space, 0, 9, 1);
        const child = (await call(space, form, "fork")) as AddressSpace;
        stampPages(child, FAR, 100, 2);
        child.mprotectSync(FAR + 50 * PAGE, 100 * PAGE, "none");
        const attached = AddressSpace.attachSync(child.handle);
        attached.munmapSync(FAR + 70 * PAGE, 10 * PAGE);
        const family = [space, child, attached];
        for (const i of order) await call(family[i]!, form, "dispose");
        assert.deepEqual(accountingOf(witness), empty);
      }
      await witness.dispose();
    });

    test("limits: bytes and mappings, inherited by a fork", () =>
      withSpace(
        async (space) => {
          await call(space, form, "mmap", 6 * PAGE, { address: FAR, fixed: "replace" });
          await failsWith("ENOMEM", () => call(space, form, "mmap", 5 * PAGE));
          await failsWith("ENOMEM", () =>
            call(space, form, "mremap", FAR, 6 * PAGE, 11 * PAGE, { mayMove: true }),
          );
          await call(space, form, "mremap", FAR, 6 * PAGE, 9 * PAGE);
          await call(space, form, "mmap", 3 * PAGE, {
            address: FAR,
            fixed: "replace",
            protection: "read",
          });
          await using child = (await call(space, form, "fork")) as AddressSpace;
          await failsWith("ENOMEM", () => call(child, form, "mmap", 2 * PAGE));
          await failsWith("ENOMEM", () => call(child, form, "munmap", FAR + 5 * PAGE, PAGE));
          await failsWith("ENOMEM", () => call(child, form, "mprotect", FAR + PAGE, PAGE, "none"));
          assert.equal(mapLines(child).length, 2);
          await call(child, form, "munmap", FAR + 3 * PAGE, 6 * PAGE);
          await call(child, form, "mprotect", FAR, PAGE, "none");
          assert.equal(mapLines(child).length, 2);
        },
        { limits: { mappedBytes: 10 * PAGE + 5, mappings: 2 } },
      ));
  });
}

test("an object attached in the same thread is a hold of its own", async () => {
  const space = makeSpace();
  const p = space.mmapSync(PAGE);
  space.u32.store(p, 5);
  const second = await AddressSpace.attach(space.handle);
  const third = AddressSpace.attachSync(structuredClone(second.handle));
  assert.equal((await third.stats()).users, 3);
  await space.dispose();
  second.u32.store(p, 6);
  assert.equal(third.u32.load(p), 6);
  const { machine } = inside(third);
  await second.dispose();
  assert.equal(machine.memory.agentId >= 0, true);
  third.disposeSync();
  assert.equal(machine.memory.agentId, -1, "the thread has left the machine");
});

test("operations that are under way when the space is disposed of end first", async () => {
  const space = makeSpace();
  const p = space.mmapSync(MIB);
  const blocker = lockForWriting(space);
  const pending = [space.munmap(p, PAGE), space.write(p + PAGE, Uint8Array.of(1)), space.maps()];
  const fork = space.fork();
  const disposal = space.dispose();
  await failsWith("EBADF", () => space.maps());
  blocker.release();
  await Promise.all(pending);
  await disposal;
  const child = await fork;
  assert.equal(child.u8.load(p + PAGE), 1);
  await child.dispose();
});

test("disposeSync while promise forms are under way leaves the end to them", async () => {
  const space = makeSpace();
  const { machine } = inside(space);
  const p = space.mmapSync(MIB);
  const blocker = lockForWriting(space);
  const pending = space.munmap(p, PAGE);
  space.disposeSync();
  assert.equal(machine.memory.agentId >= 0, true);
  blocker.release();
  await pending;
  await space.dispose();
  assert.equal(machine.memory.agentId, -1);
});

/**
 * Holds the mmap lock until `release`, as an operation of this thread that waits for something
 * else.
 */
function lockForWriting(space: AddressSpace): { release(): void } {
  const {
    machine: { memory },
    mm,
  } = inside(space);
  const lock = { isHeld: true };
  function* hold(): Task<void> {
    yield* mm.mmapLock.downWrite();
    while (lock.isHeld) yield park(memory, 0, memory.words[0]!, 1, "the test");
    yield* mm.mmapLock.upWrite();
  }
  void runAsync(memory, hold(), "blocker");
  return {
    release: () => {
      lock.isHeld = false;
    },
  };
}

describe("handles", () => {
  test("survive cloning, and name nothing else", async () => {
    const space = makeSpace();
    const { handle } = space;
    assert.deepEqual(Object.keys(handle).toSorted(), [
      "kind",
      "machine",
      "machineId",
      "space",
      "version",
    ]);
    const copy = structuredClone(handle);
    const again = AddressSpace.attachSync(copy);
    assert.equal(
      inside(again).machine,
      inside(space).machine,
      "one thread has one place on a machine",
    );
    await again.dispose();
    await space.dispose();
  });

  test("of a space that is gone are stale, while its machine lives", async () => {
    const parent = makeSpace();
    const child = parent.forkSync();
    const { handle } = child;
    await child.dispose();
    const other = parent.forkSync(); // its mm may lie where the child's did
    for (const attach of [
      () => AddressSpace.attach(handle),
      () => AddressSpace.attachSync(handle),
    ]) {
      const error = await failsWith("ESTALE", attach);
      assert.equal(error.syscall, "attach");
    }
    await other.dispose();
    await parent.dispose();
  });

  test("of a space that is gone with its machine are stale too, and leave nothing behind", async () => {
    const space = makeSpace();
    const { handle } = space;
    await space.dispose();
    await failsWith("ESTALE", () => AddressSpace.attach(handle));
    await failsWith("ESTALE", () => AddressSpace.attachSync(structuredClone(handle)));
    const next = makeSpace();
    await next.dispose();
  });

  test("that are none, damaged, of another version or of another machine are EINVAL", async () => {
    const space = makeSpace();
    const other = makeSpace();
    const good = space.handle;
    const bad: unknown[] = [
      undefined,
      null,
      5,
      "handle",
      {},
      [],
      { ...good, kind: "hmm-ts/other" },
      { ...good, version: 2 },
      { ...good, machineId: 7 },
      { ...good, machineId: "0123456789abcdef" },
      { ...good, machine: undefined },
      { ...good, machine: { ...good.machine, heap: new ArrayBuffer(MIB) } },
      { ...good, space: "1" },
      { ...good, space: Number.NaN },
    ];
    for (const handle of bad) {
      const error = await failsWith("EINVAL", () =>
        AddressSpace.attachSync(handle as AddressSpaceHandle),
      );
      assert.equal(error.syscall, "attach");
      await failsWith("EINVAL", () => AddressSpace.attach(handle as AddressSpaceHandle));
    }
    await failsWith("ESTALE", () => AddressSpace.attachSync({ ...good, space: 99 }));
    await failsWith("ESTALE", () => AddressSpace.attachSync({ ...good, space: -1 }));
    assert.equal((await space.stats()).users, 1);
    await other.dispose();
    await space.dispose();
    for (const heap of [new SharedArrayBuffer(8), new SharedArrayBuffer(MIB)]) {
      await failsWith("EINVAL", () =>
        AddressSpace.attachSync({ ...good, machine: { ...good.machine, heap } }),
      );
    }
  });
});

describe("creation", () => {
  test("bad options are EINVAL", async () => {
    const bad: unknown[] = [
      null,
      { ramBytes: 0 },
      { ramBytes: -PAGE },
      { ramBytes: 1.5 },
      { ramBytes: "1" },
      { ramBytes: 2 ** 50 },
      { heapBytes: 100 },
      { heapBytes: Number.NaN },
      { heapBytes: 2 ** 40 },
      { debug: "yes" },
      { limits: 7 },
      { limits: { mappings: 0 } },
      { limits: { mappedBytes: Number.NaN } },
    ];
    for (const options of bad) {
      const error = await failsWith("EINVAL", () => AddressSpace.createSync(options as object));
      assert.equal(error.syscall, "create");
      await failsWith("EINVAL", () => AddressSpace.create(options as object));
    }
  });

  test("RAM is rounded up to pages; without options there is enough to begin with", async () => {
    await using small = await AddressSpace.create({ ramBytes: 1 });
    assert.equal((await small.stats()).ram.totalBytes, PAGE);
    using usual = AddressSpace.createSync();
    assert.ok(usual.statsSync().ram.totalBytes >= 64 * MIB);
  });

  test("the smallest heap with which a machine can be made is enough for a space, or says no", async () => {
    for (let heapBytes = 64 * 1024; heapBytes <= MIB; heapBytes += 16 * 1024) {
      try {
        AddressSpace.createSync({ ramBytes: PAGE, heapBytes, debug: true }).disposeSync();
      } catch (error) {
        assert.ok(error instanceof HmmError);
        assert.ok(error.code === "EINVAL" || error.code === "ENOMEM", error.message);
      }
    }
  });
});

test("stats count what is there", () =>
  withSpace(async (space) => {
    const p = space.mmapSync(10 * PAGE);
    stampPages(space, p, 3, 1);
    space.mprotectSync(p, PAGE, "none");
    using view = space.viewSync(p + 8 * PAGE, PAGE, "write");
    const stats = await space.stats();
    assert.equal(stats.mappings, 2);
    assert.equal(stats.mappedBytes, 10 * PAGE);
    assert.equal(stats.residentBytes, 4 * PAGE);
    assert.equal(stats.writeViews, 1);
    assert.equal(stats.users, 2);
    assert.equal(stats.faults, 3);
    assert.deepEqual(stats.ram, {
      totalBytes: 4 * MIB,
      usedBytes: 4 * PAGE,
      freeBytes: 4 * MIB - 4 * PAGE,
    });
    assert.equal(stats.heap.objects.find(({ name }) => name === "vma")?.live, 2);
    assert.ok(
      stats.heap.usedBytes <= stats.heap.peakBytes &&
        stats.heap.peakBytes <= stats.heap.budgetBytes,
    );
    assert.equal(view.lengthBytes, PAGE);
  }));

test("a thread without the code of a driver that is in use cannot attach, and says which", async () => {
  await withSpace(async (space) => {
    space.mmapSync(PAGE, { address: FAR });
    const noop = function* (): Generator<never, number> {
      return 0;
    };
    const id = registerMirrorOps("driver of this test", { invalidate: noop });
    await inside(space).run(useMirrorOps(inside(space).machine, id));
    await assert.rejects(startWorker(space, "visit", 0, 1).result, {
      code: "ENODEV",
      message: /Cannot attach .*"driver of this test".*import their modules before attaching/,
    });
    await inside(space).run(dropMirrorOps(inside(space).machine, id));
    assert.equal(await startWorker(space, "visit", 0, 1).result, 1);
  });
});

test("a thread that attached before a driver came into use, without its code, changes nothing", async () => {
  await withSpace(async (space) => {
    space.mmapSync(4 * PAGE, { address: FAR });
    const noop = function* (): Generator<never, number> {
      return 0;
    };
    const id = registerMirrorOps("driver of this test", { invalidate: noop });
    const { machine } = inside(space);
    const gate = new Int32Array(new SharedArrayBuffer(4));
    const late = startWorker(space, "late", 0, 2, gate);
    await late.next("said");
    await inside(space).run(useMirrorOps(machine, id));
    const refused = late.next("said");
    gate[0] = 1;
    Atomics.notify(gate, 0);
    assert.equal(await refused, 3);
    await inside(space).run(dropMirrorOps(machine, id));
    gate[0] = 2;
    Atomics.notify(gate, 0);
    assert.equal(await late.result, 3, "once the driver is gone, the thread may");
  });
});

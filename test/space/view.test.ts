/**
 * @module Views: typed arrays over the frames, what they hold while they are open, and how other
 * operations behave meanwhile.
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { AddressSpace, SegmentationFault, type View, type ViewMode } from "../../src/index.ts";
import {
  FAR,
  FORMS,
  MIB,
  PAGE,
  accountingOf,
  call,
  failsWith,
  readStamps,
  stampPages,
  withSpace,
} from "./fixture.ts";
import { inside } from "../inside.ts";

for (const form of FORMS) {
  const open = (
    space: AddressSpace,
    address: number,
    lengthBytes: number,
    mode: ViewMode,
  ): Promise<View> => call(space, form, "view", address, lengthBytes, mode) as Promise<View>;

  describe(`views, ${form} form`, () => {
    test("a view and single accesses see each other's stores", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", 3 * PAGE)) as number;
        stampPages(space, p, 3, 1);
        using view = await open(space, p, 3 * PAGE, "write");
        const words = view.as(Uint32Array);
        assert.deepEqual([words[0], words[1024], words[2048]], [1, 2, 3]);
        words[1] = 9;
        assert.equal(space.u32.load(p + 4), 9);
        space.u32.store(p + 2 * PAGE + 8, 10);
        assert.equal(words[2050], 10);
      }));

    test("untouched and scattered pages are gathered, contents kept", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", 40 * PAGE)) as number;
        // frames in the wrong order, with holes
        for (let i = 39; i >= 0; i -= 3) space.u32.store(p + i * PAGE, i);
        assert.equal(space.u32.load(p + PAGE), 0); // the zero page
        using view = await open(space, p, 40 * PAGE, "write");
        const words = view.as(Uint32Array);
        for (let i = 0; i < 40; i++) assert.equal(words[i * 1024], i % 3 === 0 ? i : 0);
        words.fill(5);
        assert.deepEqual(
          readStamps(space, p, 40),
          Array.from({ length: 40 }, () => 5),
        );
      }));

    test("shared memory is gathered for its other space too", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", 8 * PAGE, { shared: true })) as number;
        for (const i of [7, 2, 5]) space.u32.store(p + i * PAGE, i);
        using view = await open(space, p, 8 * PAGE, "write");
        await using child = (await call(space, form, "fork")) as AddressSpace;
        view.as(Uint32Array)[3 * 1024] = 33;
        assert.deepEqual(readStamps(child, p, 8), [0, 0, 2, 33, 0, 5, 0, 7]);
        child.u32.store(p, 44);
        assert.equal(view.as(Uint32Array)[0], 44);
      }));

    test("any range of bytes, wider elements only where they are aligned", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", 2 * PAGE)) as number;
        space.writeSync(p + PAGE - 3, Uint8Array.of(1, 2, 3, 4, 5));
        using odd = await open(space, p + PAGE - 3, 5, "read");
        assert.deepEqual([...odd.bytes], [1, 2, 3, 4, 5]);
        assert.equal(odd.lengthBytes, 5);
        assert.deepEqual([...odd.as(Uint8Array)], [1, 2, 3, 4, 5]);
        await failsWith("EINVAL", () => odd.as(Uint16Array));
        using even = await open(space, p + 8, 12, "read");
        assert.equal(even.as(Uint32Array).length, 3);
        await failsWith("EINVAL", () => even.as(Float64Array));
        using long = await open(space, p + 8, 16, "read");
        assert.equal(long.as(Float64Array).length, 2);
        assert.equal(long.as(BigInt64Array)[0], 0n);
      }));

    test("rights: a read view wants read, a write view wants write, all along the range", () =>
      withSpace(async (space) => {
        await call(space, form, "mmap", 2 * PAGE, { address: FAR, fixed: "replace" });
        await call(space, form, "mprotect", FAR + PAGE, PAGE, "read");
        (await open(space, FAR, 2 * PAGE, "read")).disposeSync();
        await failsWith("EFAULT", () => open(space, FAR, 2 * PAGE, "write"));
        await call(space, form, "mprotect", FAR + PAGE, PAGE, "none");
        await failsWith("EFAULT", () => open(space, FAR, 2 * PAGE, "read"));
        (await open(space, FAR, PAGE, "write")).disposeSync();
      }));

    test("munmap while a view is open: the mapping is gone, the frames are the view's", () =>
      withSpace(async (space) => {
        const before = accountingOf(space).usedPages;
        const p = (await call(space, form, "mmap", 2 * PAGE)) as number;
        const view = await open(space, p, 2 * PAGE, "write");
        const words = view.as(Uint32Array);
        words[0] = 1;
        await call(space, form, "munmap", p, 2 * PAGE);
        assert.throws(() => space.u32.load(p), SegmentationFault);
        assert.equal(await call(space, form, "mmap", 2 * PAGE), p);
        space.u32.store(p, 2);
        assert.equal(words[0], 1);
        assert.equal(accountingOf(space).usedPages, before + 3);
        await view.dispose();
        assert.equal(accountingOf(space).usedPages, before + 1);
        assert.equal(space.u32.load(p), 2);
      }));

    test("a read view follows stores, also after its page was write-protected and written again", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", PAGE)) as number;
        space.u32.store(p, 1);
        using view = await open(space, p, PAGE, "read");
        const words = view.as(Uint32Array);
        await call(space, form, "mprotect", p, PAGE, "read");
        await call(space, form, "mprotect", p, PAGE, "read-write");
        space.u32.store(p, 2);
        assert.equal(words[0], 2);
      }));

    test("fork under a view: the child has the contents of that moment, the view stays the parent's", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", 2 * PAGE)) as number;
        for (const mode of ["read", "write"] as const) {
          stampPages(space, p, 2, 10);
          using view = await open(space, p, PAGE, mode);
          await using child = (await call(space, form, "fork")) as AddressSpace;
          assert.deepEqual(readStamps(child, p, 2), [10, 11]);
          space.u32.store(p, 20);
          assert.equal(view.as(Uint32Array)[0], 20, mode);
          assert.equal(child.u32.load(p), 10);
          child.u32.store(p, 30);
          assert.equal(view.as(Uint32Array)[0], 20, mode);
        }
      }));

    test("a view after fork does not show the other side's pages", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", 3 * PAGE)) as number;
        stampPages(space, p, 3, 10);
        await using child = (await call(space, form, "fork")) as AddressSpace;
        using own = await open(space, p, 3 * PAGE, "write");
        own.as(Uint32Array)[0] = 1;
        using other = await open(child, p, 3 * PAGE, "write");
        other.as(Uint32Array)[1024] = 2;
        assert.deepEqual(readStamps(space, p, 3), [1, 11, 12]);
        assert.deepEqual(readStamps(child, p, 3), [10, 2, 12]);
      }));

    test("a read view after fork sees later stores of its own space only", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", PAGE)) as number;
        space.u32.store(p, 1);
        await using child = (await call(space, form, "fork")) as AddressSpace;
        using view = await open(space, p, PAGE, "read");
        child.u32.store(p, 2);
        assert.equal(view.as(Uint32Array)[0], 1);
        space.u32.store(p, 3);
        assert.equal(view.as(Uint32Array)[0], 3);
      }));

    test("several views of one range share its frames", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", 4 * PAGE)) as number;
        using all = await open(space, p, 4 * PAGE, "write");
        using part = await open(space, p + PAGE, PAGE, "write");
        using read = await open(space, p + PAGE + 4, 4, "read");
        all.as(Uint32Array)[1025] = 6;
        assert.equal(part.as(Uint32Array)[1], 6);
        assert.equal(read.as(Uint32Array)[0], 6);
      }));

    test("pages that another view holds cannot be gathered", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", 4 * PAGE)) as number;
        space.u32.store(p + PAGE, 1);
        space.u32.store(p, 2);
        const before = accountingOf(space);
        {
          using part = await open(space, p + PAGE, PAGE, "read");
          await failsWith("EBUSY", () => open(space, p, 4 * PAGE, "read"));
          assert.equal(part.as(Uint32Array)[0], 1);
        }
        (await open(space, p, 4 * PAGE, "read")).disposeSync();
        assert.deepEqual(readStamps(space, p, 4), [2, 1, 0, 0]);
        assert.equal(before.live["viewHold"], accountingOf(space).live["viewHold"]);
      }));

    test("dontneed under a view: the space reads zeros, the view keeps its frames", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", PAGE)) as number;
        space.u32.store(p, 8);
        using view = await open(space, p, PAGE, "read");
        await call(space, form, "madvise", p, PAGE, "dontneed");
        assert.equal(space.u32.load(p), 0);
        assert.equal(view.as(Uint32Array)[0], 8);
      }));

    test("more pages than there are in a row is ENOMEM, and changes nothing", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", 64 * MIB)) as number;
        stampPages(space, p, 3, 1);
        const before = accountingOf(space);
        await failsWith("ENOMEM", () => open(space, p, 64 * MIB, "write"));
        await failsWith("ENOMEM", () => open(space, p, 4 * MIB, "read"));
        assert.equal(accountingOf(space).usedPages, before.usedPages);
        assert.deepEqual(readStamps(space, p, 4), [1, 2, 3, 0]);
      }));

    test("a view of the whole address range is refused quickly", () =>
      withSpace(async (space) => {
        const lengthBytes = 2 ** 43;
        await call(space, form, "mmap", lengthBytes, { address: FAR, fixed: "replace" });
        await failsWith("ENOMEM", () => open(space, FAR, lengthBytes, "read"));
      }));
  });
}

test("after it was disposed of a view gives no arrays, and a second time is nothing", () =>
  withSpace(async (space) => {
    const p = space.mmapSync(PAGE);
    const views = [space.viewSync(p, PAGE, "write"), await space.view(p, PAGE, "read")];
    for (const view of views) {
      await view.dispose();
      await view.dispose();
      view.disposeSync();
      view[Symbol.dispose]();
      const error = await failsWith("EBADF", () => view.bytes);
      assert.equal(error.address, p);
      await failsWith("EBADF", () => view.as(Uint8Array));
    }
    assert.equal(accountingOf(space).live["viewHold"], undefined);
  }));

test("a view outlives its space, and takes the space down with it", async () => {
  const space = AddressSpace.createSync({ ramBytes: MIB, debug: true });
  const { machine } = inside(space);
  const witness = space.forkSync();
  const p = space.mmapSync(2 * PAGE);
  const view = space.viewSync(p, 2 * PAGE, "write");
  await space.dispose();
  view.as(Uint32Array)[1] = 4;
  assert.equal(view.as(Uint32Array)[1], 4);
  assert.equal(machine.ram.usage().usedPages, 2);
  await view.dispose();
  assert.equal(machine.ram.usage().usedPages, 0);
  await witness.dispose();
});

test("the last view may be disposed of after every space of the thread", async () => {
  const space = AddressSpace.createSync({ ramBytes: MIB, debug: true });
  const { machine } = inside(space);
  const view = space.viewSync(space.mmapSync(PAGE), PAGE, "read");
  space.disposeSync();
  assert.ok(machine.memory.agentId >= 0, "the view keeps the thread on the machine");
  view.disposeSync();
  assert.equal(machine.memory.agentId, -1);
});

test("a thread may own only so many views, and says so", () =>
  withSpace(async (space) => {
    const p = space.mmapSync(PAGE);
    const views: View[] = [];
    const error = await failsWith("EMFILE", () => {
      for (;;) views.push(space.viewSync(p, PAGE, "read"));
    });
    assert.match(error.message, /dispose of some/);
    assert.ok(views.length > 100);
    for (const view of views) view.disposeSync();
    space.viewSync(p, PAGE, "write").disposeSync();
  }));

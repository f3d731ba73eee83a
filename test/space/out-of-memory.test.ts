/**
 * @module Memory that runs out in the middle of every operation. Each allocation of each operation
 * fails once, in the heap and in RAM; and a whole program runs on machines of every small size. A
 * failed operation throws ENOMEM, loses and leaks nothing, and succeeds when there is memory again.
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { AddressSpace, HmmError } from "../../src/index.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import {
  FAR,
  FORMS,
  type Form,
  MIB,
  PAGE,
  accountingOf,
  call,
  failsWith,
  makeSpace,
  mapLines,
  readStamps,
  stampPages,
} from "./fixture.ts";
import { inside } from "../inside.ts";

type Allocator = (...args: unknown[]) => Task<number>;

const ALLOCATORS = [
  ["heap", "alloc"],
  ["heap", "allocWords"],
  ["ram", "allocFrame"],
  ["ram", "allocRun"],
] as const;

/**
 * Makes allocation number `index` from now on fail. The function that is returned ends that, and
 * returns whether the allocation has failed.
 */
function failAllocation(space: AddressSpace, index: number): () => boolean {
  let left = index;
  const { machine } = inside(space);
  const undo: (() => void)[] = [];
  // Faults with a frame in the free list bypass allocFrame: here they take the task, and are
  // counted.
  const shortcuts: object = machine.ram;
  const ram = shortcuts as { allocFrameFast?: () => number };
  ram.allocFrameFast = () => 0;
  undo.push(() => delete ram.allocFrameFast);
  for (const [part, name] of ALLOCATORS) {
    const methods: object = machine[part];
    const owner = methods as Record<string, Allocator>;
    const original = owner[name]!; // one of the four above
    owner[name] = function* failing(...args: unknown[]): Task<number> {
      return left-- === 0 ? 0 : yield* original.apply(owner, args);
    };
    undo.push(() => delete owner[name]);
  }
  return () => {
    for (const restore of undo) restore();
    return left < 0;
  };
}

interface Scene {
  readonly name: string;
  /** At least so many of its allocations must have failed, or the test tests nothing. */
  readonly allocationsMin: number;
  /**
   * What had been done by then stays done, as the docstring of write says; the scene's other pages
   * are as before.
   */
  readonly isLossy?: true;
  /**
   * Some of its allocations are of what it can do without: the notes for those who find its thread
   * dead (mm/migration.ts). Then it succeeds all the same.
   */
  readonly doesWithout?: true;
  readonly act: (space: AddressSpace, form: Form) => Promise<unknown>;
}

const FIXED = "replace";

const SCENES: readonly Scene[] = [
  {
    name: "mmap",
    allocationsMin: 1,
    act: (space, form) => call(space, form, "mmap", PAGE, { protection: "read" }),
  },
  {
    name: "mmap shared",
    allocationsMin: 3,
    act: (space, form) => call(space, form, "mmap", PAGE, { shared: true }),
  },
  {
    name: "mmap over the middle of a mapping",
    allocationsMin: 2,
    act: (space, form) =>
      call(space, form, "mmap", PAGE, {
        address: FAR + 17 * PAGE,
        fixed: FIXED,
        protection: "read",
      }),
  },
  {
    name: "mmap shared over several mappings",
    allocationsMin: 3,
    act: (space, form) =>
      call(space, form, "mmap", 10 * PAGE, {
        address: FAR + 17 * PAGE,
        fixed: FIXED,
        shared: true,
      }),
  },
  {
    name: "mmap of a buffer",
    allocationsMin: 1,
    act: (space, form) => call(space, form, "mmap", PAGE, { buffer: new SharedArrayBuffer(PAGE) }),
  },
  {
    name: "munmap of the middle",
    allocationsMin: 1,
    act: (space, form) => call(space, form, "munmap", FAR + 17 * PAGE, PAGE),
  },
  {
    name: "mprotect of the middle",
    allocationsMin: 2,
    act: (space, form) => call(space, form, "mprotect", FAR + 17 * PAGE, PAGE, "read"),
  },
  {
    name: "mremap that moves",
    allocationsMin: 3,
    act: (space, form) =>
      call(space, form, "mremap", FAR + 17 * PAGE, PAGE, PAGE, { mayMove: true, to: 2 ** 43 }),
  },
  {
    name: "mremap onto a mapping",
    allocationsMin: 2,
    act: (space, form) =>
      call(space, form, "mremap", FAR + 17 * PAGE, PAGE, PAGE, {
        mayMove: true,
        to: FAR + 25 * PAGE,
      }),
  },
  {
    name: "mremap of several mappings into the middle of others",
    allocationsMin: 4,
    act: (space, form) =>
      call(space, form, "mremap", FAR + 19 * PAGE, 2 * PAGE, 2 * PAGE, {
        mayMove: true,
        to: 2 ** 41 + PAGE,
      }),
  },
  {
    name: "mremap that leaves the old mappings",
    allocationsMin: 4,
    act: (space, form) =>
      call(space, form, "mremap", FAR + 17 * PAGE, 4 * PAGE, 4 * PAGE, {
        mayMove: true,
        keepOld: true,
        to: 2 ** 43,
      }),
  },
  {
    name: "mremap that cuts the middle out and moves the rest",
    allocationsMin: 4,
    act: (space, form) =>
      call(space, form, "mremap", FAR + 17 * PAGE, 2 * PAGE, PAGE, { mayMove: true, to: 2 ** 43 }),
  },
  {
    name: "a second mapping of shared memory",
    allocationsMin: 1,
    act: (space, form) => call(space, form, "mremap", FAR + 30 * PAGE, 0, PAGE, { mayMove: true }),
  },
  {
    name: "fork",
    allocationsMin: 9,
    act: async (space, form) => ((await call(space, form, "fork")) as AddressSpace).dispose(),
  },
  {
    name: "attach",
    allocationsMin: 0,
    act: async (space) => (await AddressSpace.attach(space.handle)).dispose(),
  },
  {
    name: "first read of a page far away",
    allocationsMin: 2,
    act: (space, form) => call(space, form, "read", 2 ** 41, new Uint8Array(1)),
  },
  {
    name: "first write of pages",
    allocationsMin: 4,
    isLossy: true,
    act: (space, form) => call(space, form, "write", 2 ** 41, new Uint8Array(2 * PAGE)),
  },
  {
    name: "first store",
    allocationsMin: 3,
    act: async (space) => space.u32.store(2 ** 41 + PAGE, 1),
  },
  {
    name: "first store to shared memory",
    allocationsMin: 2,
    act: async (space) => space.u32.store(FAR + 30 * PAGE, 1),
  },
  {
    name: "store that copies a page shared with a fork",
    allocationsMin: 1,
    act: async (space) => space.u32.store(FAR, 10),
  },
  {
    name: "view that gathers",
    allocationsMin: 2,
    doesWithout: true,
    act: async (space, form) =>
      ((await call(space, form, "view", FAR, 20 * PAGE, "write")) as Disposable)[Symbol.dispose](),
  },
];

/**
 * Private pages of which four are stamped, a mapping to move onto, shared memory that nobody
 * touched, and far pages without tables.
 */
function furnish(space: AddressSpace): AddressSpace {
  space.mmapSync(20 * PAGE, { address: FAR, fixed: FIXED });
  space.mmapSync(2 * PAGE, { address: FAR + 20 * PAGE, fixed: FIXED, protection: "read" });
  space.mmapSync(2 * PAGE, { address: FAR + 25 * PAGE, fixed: FIXED });
  space.mmapSync(2 * PAGE, { address: FAR + 30 * PAGE, fixed: FIXED, shared: true });
  space.mmapSync(4 * PAGE, { address: 2 ** 41, fixed: FIXED });
  stampPages(space, FAR, 4, 10);
  space.u32.store(FAR + 17 * PAGE, 17);
  return space.forkSync();
}

/**
 * What must be the same after a failure: not the tables that were made on the way and stay for the
 * next try.
 */
function stateOf(space: AddressSpace): unknown {
  const { live, usedPages } = accountingOf(space);
  const objects = Object.entries(live).filter(([name]) => !name.startsWith("words"));
  return [mapLines(space), usedPages, objects];
}

/** Returns how many of its allocations it cannot do without. */
async function failEveryAllocation(
  { act, isLossy, doesWithout }: Scene,
  form: Form,
): Promise<number> {
  let spared = 0;
  for (let index = 0; ; index++) {
    const sibling = makeSpace();
    const { machine } = inside(sibling);
    const before = accountingOf(sibling);
    const space = sibling.forkSync();
    const fork = furnish(space);
    const state = stateOf(space);
    const stop = failAllocation(space, index);
    let failed: unknown;
    try {
      await act(space, form);
    } catch (error) {
      failed = error;
    }
    if (!stop()) {
      assert.equal(failed, undefined);
      for (const one of [space, fork, sibling]) await one.dispose();
      return index - spared;
    }
    const isSpared = failed === undefined && doesWithout === true;
    if (isSpared) spared++;
    else {
      assert.ok(
        failed instanceof HmmError && failed.code === "ENOMEM",
        `allocation ${index}: ${String(failed)}`,
      );
    }
    if (isLossy !== true && !isSpared)
      assert.deepEqual(stateOf(space), state, `allocation ${index}`);
    assert.deepEqual(readStamps(space, FAR, 4), [10, 11, 12, 13]);
    assert.equal(space.u32.load(FAR + 17 * PAGE), 17);
    await act(space, form);
    assert.deepEqual(readStamps(fork, FAR, 4), [10, 11, 12, 13]);
    await space.dispose();
    await fork.dispose();
    assert.deepEqual(accountingOf(sibling), before, `allocation ${index}: all is given back`);
    await sibling.dispose();
    assert.equal(machine.memory.agentId, -1);
  }
}

for (const form of FORMS) {
  describe(`every allocation fails once, ${form} form`, () => {
    for (const scene of SCENES) {
      test(scene.name, async () => {
        const count = await failEveryAllocation(scene, form);
        assert.ok(count >= scene.allocationsMin, `${count} allocations`);
      });
    }
  });
}

/** A program that uses everything. Returns whether it succeeded. */
function runProgram(space: AddressSpace): boolean {
  try {
    const p = space.mmapSync(30 * PAGE);
    stampPages(space, p, 10, 1);
    const q = space.mmapSync(5 * PAGE, { shared: true });
    stampPages(space, q, 5, 50);
    using child = space.forkSync();
    stampPages(child, p, 5, 100);
    child.mprotectSync(p + 2 * PAGE, PAGE, "read");
    child.munmapSync(p + 5 * PAGE, PAGE);
    const moved = child.mremapSync(p + 6 * PAGE, 3 * PAGE, 9 * PAGE, { mayMove: true });
    assert.deepEqual(readStamps(child, moved, 3), [7, 8, 9]);
    using view = space.viewSync(p, 12 * PAGE, "write");
    assert.deepEqual([view.as(Uint32Array)[0], view.as(Uint32Array)[9 * 1024]], [1, 10]);
    assert.deepEqual(readStamps(child, q, 5), [50, 51, 52, 53, 54]);
    return true;
  } catch (error) {
    if (error instanceof HmmError && error.code === "ENOMEM") return false;
    throw error;
  }
}

/** Runs the program twice on a machine: the second time nothing of the first may be in the way. */
function runTwice(options: { readonly ramBytes: number; readonly heapBytes: number }): boolean {
  using space = makeSpace(options);
  const results = [0, 1].map(() => {
    using fresh = space.forkSync();
    return runProgram(fresh);
  });
  assert.equal(results[0], results[1], "the same machine does the same thing twice");
  assert.equal(accountingOf(space).usedPages, 0);
  return results[0] === true;
}

test("RAM of every small size", () => {
  const works = Array.from({ length: 45 }, (_, i) =>
    runTwice({ ramBytes: (i + 1) * PAGE, heapBytes: MIB }),
  );
  assert.equal(works[0], false);
  assert.equal(works.at(-1), true);
  assert.equal(works.lastIndexOf(false) < 44, true);
});

test("kernel heaps of every small size", async () => {
  const smallest = await smallestHeapBytes();
  const works: boolean[] = [];
  for (let heapBytes = smallest; works.at(-1) !== true; heapBytes += PAGE) {
    works.push(runTwice({ ramBytes: MIB, heapBytes }));
    assert.ok(works.length < 200);
  }
  assert.equal(works[0], false);
});

/** With which a space and a fork of it can be made at all. */
async function smallestHeapBytes(): Promise<number> {
  for (let heapBytes = 64 * 1024; ; heapBytes += PAGE) {
    try {
      using space = makeSpace({ ramBytes: MIB, heapBytes });
      space.forkSync().disposeSync();
      return heapBytes;
    } catch (error) {
      assert.ok(error instanceof HmmError);
      assert.ok(heapBytes < 2 * MIB);
    }
  }
}

test("a space that cannot be made leaves the machine's thread free for the next", async () => {
  await failsWith("EINVAL", () => AddressSpace.createSync({ heapBytes: PAGE }));
  const space = makeSpace();
  const stop = failAllocation(space, 0);
  await failsWith("ENOMEM", () => space.forkSync());
  assert.equal(stop(), true);
  await space.dispose();
});

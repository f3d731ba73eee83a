/**
 * @module Pages that kernels have stored to stay on the GPU (`memory: "private"`), and come home
 * when others need them.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { AddressSpace, HmmError, SegmentationFault } from "../../../src/index.ts";
import { WebGpuDevice, type WebGpuDeviceOptions } from "../../../src/webgpu.ts";
import { missingGpu } from "./find-gpu.ts";

const skip = missingGpu;
const timeout = 120_000;
const PAGE = 4096;

async function withPrivate(
  memoryBytes: number,
  use: (device: WebGpuDevice, space: AddressSpace) => Promise<void>,
  options: Partial<WebGpuDeviceOptions> = {},
): Promise<void> {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 24, debug: true });
  const given = { memoryBytes, memory: "private" as const, ...options };
  await using device = await WebGpuDevice.create(space, given);
  await use(device, space);
}

/** Each workgroup increments a word of a page. */
const COUNT = `
@compute @workgroup_size(1) fn main(@builtin(workgroup_id) group: vec3u) {
  let p = ptr_at(arg_ptr(0), group.x, 4096u);
  store_u32(p, load_u32(p) + 1u);
}`;

test("a chain of dispatches moves nothing, and a load brings it home", { skip, timeout }, () =>
  withPrivate(2 ** 20, async (device, space) => {
    const pages = 32;
    const at = await space.mmap(pages * PAGE);
    const kernel = device.kernel({ code: COUNT, entryPoint: "main" });
    await kernel.dispatch(pages, { args: [at] });
    for (let i = 0; i < 3; i++) {
      const { bytesToHost, bytesToDevice, replays } = await kernel.dispatch(pages, { args: [at] });
      assert.deepEqual([bytesToHost, bytesToDevice, replays], [0, 0, 0]);
    }
    for (let page = 0; page < pages; page++) assert.equal(space.u32.load(at + page * PAGE), 4);
    const { pagesReadBack, homeRequests } = device.statsSync();
    assert.equal(pagesReadBack, pages);
    assert.ok(homeRequests <= 2, `${homeRequests} requests`);
    await kernel.dispatch(pages, { args: [at] });
    assert.equal(space.u32.load(at + 5 * PAGE), 5);
  }),
);

const count = (device: WebGpuDevice, at: number, pages: number): Promise<unknown> =>
  device.kernel({ code: COUNT, entryPoint: "main" }).dispatch(pages, { args: [at] });

test("more pages than the device has: some are read back, none is lost", { skip, timeout }, () =>
  withPrivate(24 * PAGE, async (device, space) => {
    const pages = 64;
    const at = await space.mmap(pages * PAGE);
    for (let round = 1; round <= 3; round++) await count(device, at, pages);
    assert.ok(device.statsSync().pagesReadBack > 2 * pages);
    for (let page = 0; page < pages; page++) assert.equal(space.u32.load(at + page * PAGE), 3);
  }),
);

test("more pages are stored to by a dispatch than can be backed up", { skip, timeout }, () =>
  withPrivate(66 * PAGE, async (device, space) => {
    const pages = 40; // of 48, with 16 backups
    const at = await space.mmap(pages * PAGE);
    await count(device, at, pages);
    const kernel = device.kernel({ code: COUNT, entryPoint: "main" });
    for (let round = 2; round <= 4; round++) await kernel.dispatch(pages, { args: [at] });
    assert.ok(device.statsSync().pagesReadBack > 0);
    for (let page = 0; page < pages; page++) assert.equal(space.u32.load(at + page * PAGE), 4);
  }),
);

/** Increments words of pages, of which the second argument says how many come before a miss. */
const MISSES = `
@compute @workgroup_size(1) fn main(@builtin(workgroup_id) group: vec3u) {
  let p = ptr_at(arg_ptr(0), group.x, 4096u);
  let v = load_u32(p);
  store_u32(p, v + 1u);
  if group.x == arg_u32(1) { store_u32(arg_ptr(2), v); }
}`;

test("a pass that misses is undone on the GPU", { skip, timeout }, () =>
  withPrivate(2 ** 20, async (device, space) => {
    const at = await space.mmap(8 * PAGE);
    const other = await space.mmap(8 * PAGE);
    const kernel = device.kernel({ code: MISSES, entryPoint: "main" });
    for (let round = 0; round < 4; round++)
      await kernel.dispatch(8, { args: [at, round, other + round * PAGE] });
    const { pagesBackedUp, failedPasses, pagesReadBack } = device.statsSync();
    assert.ok(failedPasses >= 4 && pagesBackedUp >= 24);
    assert.equal(pagesReadBack, 0);
    await assert.rejects(kernel.dispatch(8, { args: [at, 2, 0] }), { code: "EFAULT" });
    for (let page = 0; page < 8; page++) assert.equal(space.u32.load(at + page * PAGE), 4);
    for (let round = 0; round < 4; round++)
      assert.equal(space.u32.load(other + round * PAGE), round);
  }),
);

test("the last frame of RAM is for the page that is touched", { skip, timeout }, () =>
  withPrivate(2 ** 20, async (device, space) => {
    const pages = 16;
    const hole = await space.mmap(pages * PAGE * 2);
    const at = Math.ceil(hole / (pages * PAGE)) * pages * PAGE; // they would come together
    await count(device, at, pages);
    const rest = await space.mmap(2 ** 25);
    let end = rest;
    assert.throws(
      () => {
        for (; ; end += PAGE) space.u32.store(end, 1);
      },
      { code: "ENOMEM" },
    );
    for (const page of [5, 11]) {
      end -= PAGE;
      await space.madvise(end, PAGE, "dontneed");
      assert.equal(space.u32.load(at + page * PAGE), 1, `page ${page}`);
      assert.throws(() => space.u32.store(end, 1), { code: "ENOMEM" });
    }
  }),
);

test("fork shares what the GPU has; each side has its own afterwards", { skip, timeout }, () =>
  withPrivate(2 ** 20, async (device, space) => {
    const at = await space.mmap(4 * PAGE);
    await count(device, at, 4);
    await using child = await space.fork();
    await count(device, at, 4);
    child.u32.store(at + 4, 9);
    for (let page = 0; page < 4; page++) {
      assert.equal(child.u32.load(at + page * PAGE), 1);
      assert.equal(space.u32.load(at + page * PAGE), 2);
    }
    await using second = await space.fork();
    assert.equal(second.u32.load(at), 2);
    await count(device, at, 4);
    assert.equal(space.u32.load(at), 3);
    assert.equal(space.u32.load(at + 4), 0);
  }),
);

test("mappings that end give their frames back", { skip, timeout }, () =>
  withPrivate(24 * PAGE, async (device, space) => {
    for (let round = 0; round < 12; round++) {
      const at = await space.mmap(8 * PAGE);
      await count(device, at, 8);
      if (round % 2 === 0) await space.munmap(at, 8 * PAGE);
      else {
        await space.madvise(at, 8 * PAGE, "dontneed");
        assert.equal(space.u32.load(at), 0);
      }
    }
    assert.equal(device.statsSync().pagesReadBack, 0, "nobody needs them");
  }),
);

test("mprotect, mremap, views, commands", { skip, timeout }, () =>
  withPrivate(2 ** 20, async (device, space) => {
    const at = await space.mmap(4 * PAGE);
    await count(device, at, 4);
    assert.deepEqual(await device.snapshot(at, PAGE), ["own-write"]);
    await space.mprotect(at, PAGE, "read");
    assert.deepEqual(await device.snapshot(at, PAGE), ["own-read"]);
    await assert.rejects(count(device, at, 4), { code: "EPERM" });
    await space.mprotect(at, PAGE, "read-write");
    await count(device, at, 4);
    const moved = await space.mremap(at, 4 * PAGE, 8 * PAGE);
    await count(device, moved, 4);
    const back = new Uint8Array(8);
    await device.read(moved + PAGE, back);
    assert.equal(new Uint32Array(back.buffer)[0], 3);
    await device.write(moved + PAGE + 4, Uint8Array.of(5, 0, 0, 0));
    {
      using view = await space.view(moved + PAGE, PAGE, "read");
      const words = new Uint32Array(view.bytes.buffer, view.bytes.byteOffset, 2);
      assert.deepEqual([...words], [3, 5]);
      await count(device, moved, 4);
      assert.equal(words[0], 4);
    }
    assert.ok(device.statsSync().homeRequests > 0);
    for (let page = 0; page < 4; page++) assert.equal(space.u32.load(moved + page * PAGE), 4);
  }),
);

const RANGE = `
@group(0) @binding(0) var<storage, read_write> numbers: array<u32>;
@compute @workgroup_size(1) fn main(@builtin(workgroup_id) group: vec3u) {
  numbers[group.x * 1024u] += 10u;
}`;

for (const memory of ["ram", "private"] as const)
  test(`a direct range of pages that kernels have stored to: ${memory}`, { skip, timeout }, () =>
    withPrivate(
      2 ** 20,
      async (device, space) => {
        const at = await space.mmap(4 * PAGE);
        await count(device, at, 4);
        const ranges = [{ variable: "numbers", address: at, lengthBytes: 4 * PAGE }];
        const kernel = device.kernel({ code: RANGE, entryPoint: "main" });
        await kernel.dispatch(4, { ranges });
        await count(device, at, 4);
        await kernel.dispatch(4, { ranges });
        for (let page = 0; page < 4; page++) assert.equal(space.u32.load(at + page * PAGE), 22);
      },
      { rangeBytes: 8 * PAGE, memory },
    ),
  );

test("several devices on one space", { skip, timeout }, () =>
  withPrivate(2 ** 20, async (device, space) => {
    const at = await space.mmap(4 * PAGE);
    await using second = await WebGpuDevice.create(space, {
      memoryBytes: 2 ** 20,
      memory: "private",
    });
    await using third = await WebGpuDevice.create(space, { memoryBytes: 2 ** 20 });
    for (let round = 0; round < 3; round++)
      for (const one of [device, second, third]) await count(one, at, 4);
    await Promise.all([device, second, third].map((one) => count(one, at, 4)));
    for (let page = 0; page < 4; page++) assert.equal(space.u32.load(at + page * PAGE), 12);
  }),
);

test("what a device has at its end is in RAM", { skip, timeout }, async () => {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 24 });
  const at = await space.mmap(8 * PAGE);
  for (let round = 1; round <= 3; round++) {
    await using device = await WebGpuDevice.create(space, {
      memoryBytes: 2 ** 20,
      memory: "private",
    });
    await count(device, at, 8);
    await device[Symbol.asyncDispose]();
    for (let page = 0; page < 8; page++) assert.equal(space.u32.load(at + page * PAGE), round);
  }
});

test("a lost GPU takes along what it alone has, and that is said", { skip, timeout }, () =>
  withPrivate(2 ** 20, async (device, space) => {
    const at = await space.mmap(4 * PAGE);
    space.u32.store(at + 3 * PAGE, 5);
    await count(device, at, 3);
    assert.equal(space.u32.load(at), 1); // it and its neighbours have been read back
    await count(device, at + PAGE, 2);
    await device.loseGpu();
    const lost = `0x${(at + PAGE).toString(16)} to 0x${(at + 3 * PAGE).toString(16)}`;
    for (let page = 1; page < 3; page++)
      assert.throws(
        () => space.u32.load(at + page * PAGE),
        (error) => error instanceof SegmentationFault && error.message.includes(lost),
      );
    const isLost = (error: unknown): boolean =>
      error instanceof HmmError && error.code === "EIO" && error.message.includes(lost);
    await assert.rejects(count(device, at, 4), isLost);
    await assert.rejects(device.read(at + PAGE, new Uint8Array(4)), isLost);
    assert.equal(space.u32.load(at + 3 * PAGE), 5);
    await space.madvise(at + PAGE, PAGE, "dontneed");
    await space.munmap(at + 2 * PAGE, PAGE);
    await space.mmap(PAGE, { address: at + 2 * PAGE, fixed: "noreplace" });
    await count(device, at, 4);
    assert.deepEqual(
      [0, 1, 2, 3].map((page) => space.u32.load(at + page * PAGE)),
      [2, 1, 1, 6],
    );
  }),
);

test("memory that is private needs the device's own Worker", { skip, timeout }, async () => {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 22 });
  const gpuDevice = {
    lost: Promise.resolve(),
    queue: {},
    limits: {},
    createComputePipelineAsync: null,
  };
  const options = { memoryBytes: 2 ** 20, memory: "private" as const, gpuDevice };
  await assert.rejects(WebGpuDevice.create(space, options), { code: "EINVAL" });
});

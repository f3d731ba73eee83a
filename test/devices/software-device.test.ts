/**
 * @module The software device with real Workers: dispatches, commands, errors, two devices, the end
 * of a device; and storms of mapping changes while kernels run.
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { DeviceFault, KernelFailure } from "../../src/devices/device-fault.ts";
import type { DeviceKernel } from "../../src/devices/driver.ts";
import { SoftwareDevice } from "../../src/devices/software/software-device.ts";
import { type AddressSpace, HmmError } from "../../src/index.ts";
import { BufferNotHere } from "../../src/memory/frames/sections.ts";
import { MIB, PAGE, makeSpace, stampPages } from "./harness.ts";
import { inside } from "../inside.ts";
import { diceOf } from "../dice.ts";

const module = new URL("./kernels.js", import.meta.url);
const PAGES = 64;

/** Runs `body` with a fresh space and a device on it, and takes both down. */
async function withDevice(
  options: {
    readonly frames: number;
    readonly threads?: number;
    readonly debug?: boolean;
    readonly faultTimeoutMs?: number;
  },
  body: (
    device: SoftwareDevice,
    space: AddressSpace,
    kernel: (name: string) => DeviceKernel,
  ) => Promise<void>,
): Promise<void> {
  const { frames, threads = 2, debug = false, ...rest } = options;
  const space = makeSpace({ debug, ramBytes: 32 * MIB });
  const device = await SoftwareDevice.create(space, {
    memoryBytes: frames * PAGE,
    threads,
    name: "test device",
    ...rest,
  });
  try {
    await body(device, space, (name) => device.kernel({ module, exportName: name }));
  } finally {
    await device[Symbol.asyncDispose]();
    assert.deepEqual(leftOf(space), [], "nothing of the device is left");
    await space.dispose();
  }
}

function leftOf(space: AddressSpace): string[] {
  const names = inside(space)
    .machine.heap.accounting()
    .map(({ name }) => name);
  return names.filter((name) => /softwareDevice|hmmRange/.test(name));
}

async function failureOf(promise: Promise<unknown>): Promise<HmmError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(
    error instanceof HmmError,
    error instanceof Error ? (error.stack ?? "") : "nothing failed",
  );
  return error;
}

/** Whether a promise has been settled yet. */
function watched(promise: Promise<unknown>): { isRunning: boolean } {
  const state = { isRunning: true };
  const end = (): void => {
    state.isRunning = false;
  };
  promise.then(end, end);
  return state;
}

describe("dispatch", () => {
  for (const [frames, debug] of [
    [1, false],
    [3, false],
    [16, true],
    [256, false],
  ] as const) {
    test(`all items, once each, through ${frames} frames${debug ? ", checked by lockdep" : ""}`, () =>
      withDevice({ frames, debug }, async (device, space, kernel) => {
        const source = space.mmapSync(PAGES * PAGE);
        const sums = space.mmapSync(4 * PAGE);
        stampPages(space, source, PAGES, 7);
        const items = 1000;
        const result = await kernel("sum").dispatch(items, { args: [source, sums, PAGES, 5] });
        for (let item = 0; item < items; item++) {
          let total = 0;
          for (let i = 0; i < 5; i++) total += 7 + ((item * 37 + i * 101) % PAGES);
          assert.equal(space.u32.load(sums + item * 4), total, `item ${item}`);
        }
        assert.equal(result.items, items);
        assert.ok(result.faults > 0 && result.batches > 0 && result.seconds > 0);
        assert.equal(device.statsSync().items, items);
        assert.ok(device.statsSync().residentPages <= frames);
      }));
  }

  test("atomics of device threads and CPU threads on the same words add up", () =>
    withDevice({ frames: 4 }, async (_device, space, kernel) => {
      const counters = space.mmapSync(8 * PAGE);
      const items = 40_000;
      const dispatch = kernel("tally").dispatch(items, { args: [counters, 8] });
      const state = watched(dispatch);
      let added = 0;
      while (state.isRunning) {
        for (let i = 0; i < 500; i++, added++)
          space.u32.atomicAdd(counters + (added % 8) * PAGE, 1);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await dispatch;
      let total = 0;
      for (let i = 0; i < 8; i++) total += space.u32.load(counters + i * PAGE);
      assert.equal(total, items + added);
    }));

  test("dispatches of one device run one after the other, and no items is none", () =>
    withDevice({ frames: 8 }, async (device, space, kernel) => {
      const counters = space.mmapSync(PAGE);
      const tally = kernel("tally");
      const all = [100, 0, 1, 1000].map((items) => tally.dispatch(items, { args: [counters, 1] }));
      assert.deepEqual(
        (await Promise.all(all)).map(({ items }) => items),
        [100, 0, 1, 1000],
      );
      assert.equal(space.u32.load(counters), 1101);
      assert.equal(device.statsSync().items, 1101);
    }));

  test("a user's buffer that is mapped after the device was made", () =>
    withDevice({ frames: 8 }, async (_device, space, kernel) => {
      const buffer = new SharedArrayBuffer(2 * PAGE);
      const address = space.mmapSync(2 * PAGE, { buffer });
      await kernel("tally").dispatch(500, { args: [address, 2] });
      assert.equal(new Uint32Array(buffer)[0]! + new Uint32Array(buffer)[1024]!, 500);
      space.munmapSync(address, 2 * PAGE);
    }));

  test("two devices on one space share it", async () => {
    const space = makeSpace({ ramBytes: 16 * MIB });
    const data = space.mmapSync(PAGES * PAGE);
    stampPages(space, data, PAGES, 1);
    const sums = space.mmapSync(8 * PAGE);
    const counters = space.mmapSync(PAGE);
    const devices = await Promise.all(
      [4, 30].map((frames) =>
        SoftwareDevice.create(space, { memoryBytes: frames * PAGE, threads: 1 }),
      ),
    );
    await Promise.all(
      devices.map(async (device, i) => {
        await device
          .kernel({ module, exportName: "sum" })
          .dispatch(1000, { args: [data, sums + i * 4 * PAGE, PAGES, 4] });
        await device
          .kernel({ module, exportName: "tally" })
          .dispatch(3000, { args: [counters, 1] });
      }),
    );
    assert.equal(space.u32.load(counters), 6000);
    for (let item = 0; item < 1000; item++) {
      assert.equal(space.u32.load(sums + item * 4), space.u32.load(sums + 4 * PAGE + item * 4));
    }
    for (const device of devices) await device[Symbol.asyncDispose]();
    await space.dispose();
  });
});

describe("what goes wrong in a dispatch", () => {
  test("a stray access rejects with address, access and item; space and device go on", () =>
    withDevice({ frames: 8 }, async (_device, space, kernel) => {
      const failure = await failureOf(kernel("stray").dispatch(200, { args: [2 ** 41] }));
      assert.ok(failure instanceof DeviceFault);
      assert.deepEqual(
        [failure.code, failure.access, failure.address, failure.item],
        ["EFAULT", "write", 2 ** 41, 70],
      );
      const counters = space.mmapSync(PAGE);
      await kernel("tally").dispatch(100, { args: [counters, 1] });
      assert.equal(space.u32.load(counters), 100);
    }));

  test("a kernel that throws rejects with the item and what it threw", () =>
    withDevice({ frames: 8 }, async (_device, space, kernel) => {
      const failure = await failureOf(kernel("thrower").dispatch(50));
      assert.ok(failure instanceof KernelFailure);
      assert.equal(failure.item, 5);
      assert.ok(failure.cause instanceof RangeError);
      assert.match(failure.message, /item five/);
      assert.ok((await failureOf(kernel("oddThrower").dispatch(1))) instanceof KernelFailure);
      const counters = space.mmapSync(PAGE);
      await kernel("tally").dispatch(100, { args: [counters, 1] });
      assert.equal(space.u32.load(counters), 100);
    }));

  test("no such export, no such module, bad numbers", () =>
    withDevice({ frames: 8 }, async (device, _space, kernel) => {
      assert.equal((await failureOf(kernel("nothing").dispatch(1))).code, "EINVAL");
      assert.equal((await failureOf(kernel("notAFunction").dispatch(1))).code, "EINVAL");
      const nowhere = "./no-such-module.js";
      const missing = device.kernel({ module: new URL(nowhere, import.meta.url), exportName: "x" });
      assert.equal((await failureOf(missing.dispatch(1))).code, "ENOENT");
      for (const items of [-1, 1.5, Number.NaN, 2 ** 31, Infinity]) {
        assert.equal(
          (await failureOf(kernel("thrower").dispatch(items))).code,
          "EINVAL",
          String(items),
        );
      }
      const strings: number[] = JSON.parse('["1"]');
      assert.equal(
        (await failureOf(kernel("tally").dispatch(1, { args: strings }))).code,
        "EINVAL",
      );
    }));

  test("a thread that ends in the middle fails the dispatch, and the device can be disposed of", () =>
    withDevice({ frames: 8 }, async (_device, space, kernel) => {
      const data = space.mmapSync(PAGES * PAGE);
      stampPages(space, data, PAGES);
      const failure = await failureOf(kernel("suicide").dispatch(PAGES, { args: [data] }));
      assert.equal(failure.code, "ENODEV");
      assert.equal(
        (await failureOf(kernel("tally").dispatch(1, { args: [data, 1] }))).code,
        "ENODEV",
      );
      space.u32.store(data, 5);
      assert.equal(space.u32.load(data), 5);
    }));

  test("disposing of the device gives a running dispatch up, also one that never ends", async () => {
    const space = makeSpace();
    const flag = space.mmapSync(PAGE);
    const device = await SoftwareDevice.create(space, { memoryBytes: 8 * PAGE, threads: 1 });
    const dispatch = failureOf(
      device.kernel({ module, exportName: "forever" }).dispatch(1, { args: [flag] }),
    );
    while (space.u32.load(flag) !== 1) await new Promise((resolve) => setImmediate(resolve));
    const disposal = device[Symbol.asyncDispose]();
    assert.equal(device[Symbol.asyncDispose](), disposal, "once");
    await disposal;
    assert.equal((await dispatch).code, "ECANCELED");
    assert.equal((await failureOf(device.read(flag, new Uint8Array(4)))).code, "EBADF");
    assert.equal(device.statsSync().memoryPages, 8);
    assert.deepEqual(leftOf(space), []);
    await space.dispose();
  });

  test("sizes that cannot be", async () => {
    const space = makeSpace();
    const bad = [
      { memoryBytes: 0 },
      { memoryBytes: 100 },
      { memoryBytes: 2 ** 40 },
      { memoryBytes: Number.NaN },
      { memoryBytes: PAGE, threads: 0 },
      { memoryBytes: PAGE, threads: 33 },
      { memoryBytes: PAGE, threads: 1.5 },
      { memoryBytes: PAGE, faultTimeoutMs: -1 },
    ];
    for (const options of bad) {
      const failure = await failureOf(SoftwareDevice.create(space, options));
      assert.equal(failure.code, "EINVAL", JSON.stringify(options));
      assert.match(failure.message, /^Cannot .+: .+; .+/);
    }
    assert.deepEqual(leftOf(space), []);
    await space.dispose();
  });

  test("a space that is disposed of before its device", async () => {
    const space = makeSpace();
    const data = space.mmapSync(PAGE);
    const device = await SoftwareDevice.create(space, { memoryBytes: 8 * PAGE });
    const kernel = device.kernel({ module, exportName: "tally" });
    await kernel.dispatch(10, { args: [data, 1] });
    await space.dispose();
    const failure = await failureOf(kernel.dispatch(10, { args: [data, 1] }));
    assert.ok(failure instanceof DeviceFault);
    assert.deepEqual([failure.code, failure.address], ["ESRCH", data]);
    assert.match(failure.message, /its address space is gone/);
    await device[Symbol.asyncDispose]();
  });
});

describe("storms", () => {
  test("unmapping, mapping, protecting, forking and storing while kernels check what they read", async () => {
    const seed = Date.now() & 0x7fffffff;
    console.log(`seed ${seed}`);
    const random = diceOf(seed);
    await withDevice({ frames: 12 }, async (device, space, kernel) => {
      const data = space.mmapSync(PAGES * PAGE);
      const verdicts = space.mmapSync(16 * PAGE);
      const items = 2000;
      let stamp = 0;
      const store = (page: number): void => {
        stamp = (stamp + 1) % 2 ** 20;
        space.f64.store(data + page * PAGE, stamp * 2 ** 20 + stamp);
      };
      for (let page = 0; page < PAGES; page++) store(page);
      for (let round = 0; round < 4; round++) {
        const dispatch = kernel("checkPairs").dispatch(items, { args: [data, verdicts, PAGES] });
        const state = watched(dispatch);
        while (state.isRunning) {
          for (let i = 0; i < 20; i++) store(random(PAGES));
          const page = random(PAGES - 8);
          const [first, length] = [data + page * PAGE, (1 + random(7)) * PAGE];
          const what = random(5);
          if (what === 0) space.mmapSync(length, { address: first, fixed: "replace" });
          else if (what === 1) space.madviseSync(first, length, "dontneed");
          else if (what === 2) {
            space.mprotectSync(first, length, "read");
            space.mprotectSync(first, length, "read-write");
          } else if (what === 3) {
            const child = space.forkSync();
            child.f64.store(first, 12345.5);
            child.disposeSync();
          } else {
            using view = space.viewSync(first, PAGE, "write");
            view.as(Float64Array)[0] = 0;
          }
          await new Promise((resolve) => setImmediate(resolve));
        }
        await dispatch;
        for (let item = 0; item < items; item++)
          assert.equal(space.u32.load(verdicts + item * 4), 2, `item ${item}`);
      }
      assert.ok(device.statsSync().invalidations > 0);
      assert.ok(device.statsSync().residentPages <= 12);
    });
  });
});

describe("commands", () => {
  test("read and write at any address and length, beside kernels", () =>
    withDevice({ frames: 4 }, async (device, space) => {
      const data = space.mmapSync(40 * PAGE);
      const bytes = Uint8Array.from({ length: 20 * PAGE + 333 }, (_, i) => (i * 7) & 0xff);
      const written = await device.write(data + 1234, bytes);
      assert.deepEqual(written, { pages: 21, faults: 1 });
      const back = new Uint8Array(bytes.length);
      assert.deepEqual(await device.read(data + 1234, back), { pages: 21, faults: 0 });
      assert.deepEqual(back, bytes);
      space.readSync(data + 1234, back.fill(0));
      assert.deepEqual(back, bytes);
      assert.deepEqual(await device.read(data, new Uint8Array(0)), { pages: 0, faults: 0 });
    }));

  test("many at once", () =>
    withDevice({ frames: 4 }, async (device, space) => {
      const data = space.mmapSync(16 * PAGE);
      stampPages(space, data, 16, 3);
      const reads = Array.from({ length: 16 }, async (_, i) => {
        const word = new Uint8Array(4);
        await device.read(data + i * PAGE, word);
        assert.equal(word[0], 3 + i);
        await device.write(data + i * PAGE + 4, Uint8Array.of(i));
      });
      await Promise.all(reads);
      for (let i = 0; i < 16; i++) assert.equal(space.u32.load(data + i * PAGE + 4), i);
    }));

  test("a user's buffer that has not arrived in this thread yet is waited for", () =>
    withDevice({ frames: 4, debug: true }, async (device, space) => {
      const buffer = new SharedArrayBuffer(PAGE);
      new Uint8Array(buffer).fill(5);
      const address = space.mmapSync(PAGE, { buffer });
      const { sections } = inside(space).machine.ram;
      const sectionOf = sections.of.bind(sections);
      for (const access of ["read", "write"] as const) {
        const bytes = new Uint8Array(4).fill(5);
        let misses = 0;
        sections.of = (pfn) => {
          const found = sectionOf(pfn);
          // As if it had not been there the first time, which is found out under the driver lock.
          if (found.buffer === buffer && misses++ === 0) throw new BufferNotHere(found.basePfn);
          return found;
        };
        assert.equal((await device[access](address, bytes)).pages, 1);
        assert.ok(misses > 1);
        assert.deepEqual([...bytes], [5, 5, 5, 5]);
      }
      sections.of = sectionOf;
      space.munmapSync(address, PAGE);
    }));

  test("a command on a disposed AddressSpace object says so", async () => {
    const space = makeSpace();
    const keeper = space.forkSync();
    const data = space.mmapSync(PAGE);
    const device = await SoftwareDevice.create(space, { memoryBytes: 8 * PAGE });
    await space.dispose();
    const failure = await failureOf(device.read(data, new Uint8Array(4)));
    assert.deepEqual([failure.code, failure.syscall], ["EBADF", "read"]);
    assert.match(failure.message, /^Cannot read memory: the address space has been disposed of; /);
    await device[Symbol.asyncDispose]();
    await keeper.dispose();
  });

  test("bad arguments and addresses", () =>
    withDevice({ frames: 4 }, async (device) => {
      const bytes = new Uint8Array(8);
      for (const address of [-1, 0.5, Number.NaN, 2 ** 44]) {
        assert.equal(
          (await failureOf(device.read(address, bytes))).code,
          "EINVAL",
          String(address),
        );
      }
      const failure = await failureOf(device.read(2 ** 41, bytes));
      assert.ok(failure instanceof DeviceFault);
      assert.deepEqual(
        [failure.code, failure.address, failure.access, failure.item],
        ["EFAULT", 2 ** 41, "read", undefined],
      );
      assert.equal((await failureOf(device.snapshot(5, PAGE))).code, "EINVAL");
      assert.equal((await failureOf(device.snapshot(0, 0))).code, "EINVAL");
    }));
});

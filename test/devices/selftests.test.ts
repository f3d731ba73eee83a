/**
 * @module Linux's HMM selftests (tools/testing/selftests/mm/hmm-tests.c) by name, as far as they
 * need no migration, no huge pages and no files: same set-up, same operations, same results.
 * Buffers are 4 MiB, device memory is 1 MiB, where the kernel's test device has as much as it
 * likes. `mixedmap` maps the device's own file, which there is none of here.
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { AddressSpace, type CommandResult, HmmError, SoftwareDevice } from "../../src/index.ts";
import { MIB, PAGE } from "./harness.ts";
import type { UnmapOrder } from "./unmap-worker.ts";
import { diceOf } from "../dice.ts";

const STD: number = 4 * MIB;
const N: number = STD / PAGE;
const INTS: number = STD / 4;

/** Fixture `hmm`: one device on a fresh space. */
async function hmm(
  body: (device: SoftwareDevice, space: AddressSpace) => Promise<void>,
): Promise<void> {
  await using space = await AddressSpace.create({ ramBytes: 32 * MIB, debug: true });
  await using device = await SoftwareDevice.create(space, { memoryBytes: MIB });
  await body(device, space);
}

/** The ints 0, 1, 2 ... plus `add`, or their negatives. */
function pattern(add = 0, sign = 1): Int32Array {
  return Int32Array.from({ length: INTS }, (_, i) => sign * (i + add));
}

function bytesOf(ints: Int32Array): Uint8Array {
  return new Uint8Array(ints.buffer, ints.byteOffset, ints.byteLength);
}

/** The CPU's copy of a range. */
function read(space: AddressSpace, address: number, ints: number = INTS): Int32Array {
  const into = new Int32Array(ints);
  space.readSync(address, bytesOf(into));
  return into;
}

async function codeOf(promise: Promise<CommandResult>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof HmmError, "it must fail");
  return error.code;
}

describe("hmm", () => {
  test("open_close", () => hmm(async () => {}));

  test("anon_read", () =>
    hmm(async (device, space) => {
      const ptr = await space.mmap(STD);
      const expected = pattern().fill(0, 0, (2 * PAGE) / 4);
      space.writeSync(ptr + 2 * PAGE, bytesOf(expected.subarray((2 * PAGE) / 4)));
      await space.mprotect(ptr, STD, "read");
      assert.equal(space.i32.load(ptr + PAGE), 0);
      const mirror = new Int32Array(INTS);
      assert.deepEqual(await device.read(ptr, bytesOf(mirror)), { pages: N, faults: 1 });
      assert.deepEqual(mirror, expected);
    }));

  test("anon_read_prot", () =>
    hmm(async (device, space) => {
      const ptr = await space.mmap(STD);
      space.writeSync(ptr, bytesOf(pattern()));
      const mirror = pattern(0, -1);
      await space.mprotect(ptr, STD, "none");
      assert.equal(await codeOf(device.read(ptr, bytesOf(mirror))), "EFAULT");
      await space.mprotect(ptr, STD, "read");
      assert.deepEqual(read(space, ptr), pattern());
      assert.deepEqual(mirror, pattern(0, -1), "nothing was delivered");
    }));

  test("anon_write", () =>
    hmm(async (device, space) => {
      const ptr = await space.mmap(STD);
      assert.deepEqual(await device.write(ptr, bytesOf(pattern())), { pages: N, faults: 1 });
      assert.deepEqual(read(space, ptr), pattern());
    }));

  test("anon_write_prot", () =>
    hmm(async (device, space) => {
      const ptr = await space.mmap(STD, { protection: "read" });
      assert.deepEqual(await device.read(ptr, new Uint8Array(PAGE)), { pages: 1, faults: 1 });
      assert.equal(await codeOf(device.write(ptr, bytesOf(pattern()))), "EPERM");
      assert.ok(read(space, ptr).every((int) => int === 0));
      await space.mprotect(ptr, STD, "read-write");
      assert.deepEqual(await device.write(ptr, bytesOf(pattern())), { pages: N, faults: 1 });
      assert.deepEqual(read(space, ptr), pattern());
    }));

  test("anon_write_child", () =>
    hmm(async (_device, space) => {
      const ptr = await space.mmap(STD);
      space.writeSync(ptr, bytesOf(pattern()));
      await using child = await space.fork();
      assert.deepEqual(read(child, ptr), pattern());
      await using childDevice = await SoftwareDevice.create(child, { memoryBytes: MIB });
      assert.deepEqual(await childDevice.write(ptr, bytesOf(pattern(0, -1))), {
        pages: N,
        faults: 1,
      });
      assert.deepEqual(read(child, ptr), pattern(0, -1));
      assert.deepEqual(read(space, ptr), pattern(), "copied on write");
    }));

  test("anon_write_child_shared", () =>
    hmm(async (_device, space) => {
      const ptr = await space.mmap(STD, { shared: true });
      space.writeSync(ptr, bytesOf(pattern()));
      await using child = await space.fork();
      assert.deepEqual(read(child, ptr), pattern());
      await using childDevice = await SoftwareDevice.create(child, { memoryBytes: MIB });
      assert.deepEqual(await childDevice.write(ptr, bytesOf(pattern(0, -1))), {
        pages: N,
        faults: 1,
      });
      assert.deepEqual(read(child, ptr), pattern(0, -1));
      assert.deepEqual(read(space, ptr), pattern(0, -1), "no copy on write");
    }));

  test("anon_read_multiple", () =>
    hmm(async (device, space) => {
      for (let c = 0; c < 10; c++) {
        const ptr = await space.mmap(STD);
        space.writeSync(ptr, bytesOf(pattern(c)));
        const mirror = new Int32Array(INTS);
        assert.deepEqual(await device.read(ptr, bytesOf(mirror)), { pages: N, faults: 1 });
        assert.deepEqual(mirror, pattern(c));
        await space.munmap(ptr, STD);
      }
    }));

  test("anon_teardown", async () => {
    const seed = Date.now() & 0x7fffffff;
    console.log(`seed ${seed}`);
    const random = diceOf(seed);
    await hmm(async (device, space) => {
      const worker = new Worker(new URL("./unmap-worker.js", import.meta.url), {
        workerData: space.handle,
      });
      const heard = (): Promise<unknown> =>
        new Promise((resolve) => void worker.once("message", resolve));
      await heard();
      for (let c = 0; c < 10; c++) {
        const ptr = await space.mmap(STD);
        space.writeSync(ptr, bytesOf(pattern(c)));
        const unmapped = heard();
        const order: UnmapOrder = {
          spins: random(4_000_000),
          address: ptr + STD / 2,
          lengthBytes: STD / 2,
        };
        worker.postMessage(order);
        const mirror = new Int32Array(INTS);
        const result = await device.read(ptr, bytesOf(mirror)).catch((error: unknown) => error);
        // Whichever came first, and any error: but what is delivered is right, and nothing hangs.
        if (result instanceof HmmError) assert.equal(result.code, "EFAULT");
        else assert.deepEqual(mirror, pattern(c));
        await unmapped;
        await space.munmap(ptr, STD);
      }
      const exited = new Promise((resolve) => void worker.once("exit", resolve));
      worker.postMessage("leave");
      await exited;
    });
  });
});

describe("hmm2", () => {
  test("snapshot, without the two migrated pages", () =>
    hmm(async (device, space) => {
      const p = await space.mmap(7 * PAGE, { protection: "none" });
      await space.munmap(p + PAGE, PAGE);
      await space.mprotect(p + 2 * PAGE, PAGE, "read");
      const value = space.i32.load(p + 2 * PAGE) + 3;
      await space.mprotect(p + 3 * PAGE, PAGE, "read-write");
      space.i32.store(p + 3 * PAGE, value);
      await space.mprotect(p + 3 * PAGE, PAGE, "read");
      await space.mprotect(p + 4 * PAGE, 3 * PAGE, "read-write");
      space.i32.store(p + 4 * PAGE, value);
      assert.deepEqual(await device.snapshot(p, 7 * PAGE), [
        "error",
        "error",
        "zero",
        "read",
        "write",
        "none",
        "none",
      ]);
    }));

  test("double_map, without the migration in between", () =>
    hmm(async (device, space) => {
      await using other = await SoftwareDevice.create(space, { memoryBytes: MIB });
      const p = await space.mmap(6 * PAGE);
      const expected = pattern().subarray(0, (6 * PAGE) / 4);
      space.writeSync(p, bytesOf(expected));
      await space.mprotect(p, 6 * PAGE, "read");
      const mirror = new Int32Array(expected.length);
      for (const reader of [device, other]) {
        assert.deepEqual(await reader.read(p, bytesOf(mirror.fill(0))), { pages: 6, faults: 1 });
        assert.deepEqual(mirror, expected);
      }
      assert.deepEqual(
        await device.read(p, bytesOf(mirror)),
        { pages: 6, faults: 0 },
        "nothing took its copies away",
      );
    }));
});

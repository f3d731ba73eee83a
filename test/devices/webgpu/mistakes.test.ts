/** @module What a program sees that has made a mistake with a WebGPU device. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { AddressSpace, HmmError } from "../../../src/index.ts";
import { WebGpuDevice, WebGpuFault } from "../../../src/webgpu.ts";
import { missingGpu } from "./find-gpu.ts";
import { withDevice } from "./with-device.ts";

const skip = missingGpu;
const timeout = 60_000;
const PAGE = 4096;

const STORE = `
@compute @workgroup_size(1)
fn main() { store_u32(arg_ptr(0), 1u); }`;

async function messageOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof HmmError) return `${error.code}: ${error.message}`;
    throw error;
  }
  throw new Error("it did not fail");
}

test("a store to whatever number is no address is a fault", { skip, timeout }, () =>
  withDevice(2 ** 20, async (device, space) => {
    const kernel = device.kernel({ code: STORE, entryPoint: "main" });
    // -4: the last page that two words can name, where a store once went unnoticed for ever
    for (const address of [-4, -PAGE, -PAGE - 4, 0, 2 ** 31 * PAGE, 2 ** 32 * PAGE - 4, 2 ** 63])
      await assert.rejects(kernel.dispatch(1, { args: [address] }), (error) => {
        assert.ok(error instanceof WebGpuFault, `address ${address}`);
        assert.deepEqual([error.code, error.access], ["EFAULT", "write"], `address ${address}`);
        return true;
      });
    const at = await space.mmap(PAGE);
    await kernel.dispatch(1, { args: [at] });
    assert.equal(space.u32.load(at), 1, "the device works on");
  }),
);

test("an address that no number holds is told as it is", { skip, timeout }, () =>
  withDevice(2 ** 20, async (device) => {
    for (const [low, exactAddress] of [
      [0xfffffffc, 0xffff_ffff_ffff_fffcn],
      [0xfffff000, undefined],
      [0x00000004, 0xffff_ffff_0000_0004n],
    ] as const) {
      const code = `@compute @workgroup_size(1)
fn main() { store_u32(vec2u(${low}u, 0xffffffffu), 1u); }`;
      const failed = device.kernel({ code, entryPoint: "main" }).dispatch(1);
      const address = 0xffffffff * 2 ** 32 + low - (low % PAGE);
      await assert.rejects(failed, (error) => {
        assert.ok(error instanceof WebGpuFault);
        const { code: errno, address: told, exactAddress: exact, message } = error;
        assert.deepEqual([errno, told, exact], ["EFAULT", address, exactAddress]);
        assert.ok(message.includes(` 0x${(exactAddress ?? address).toString(16)} `), message);
        return true;
      });
    }
  }),
);

test("what a signal was raised for is the cause", { skip, timeout }, () =>
  withDevice(2 ** 20, async (device, space) => {
    const at = await space.mmap(PAGE);
    const code = `
@compute @workgroup_size(1)
fn main() { loop { if (load_u32(arg_ptr(0)) == 1u) { break; } } }`;
    const kernel = device.kernel({ code, entryPoint: "main" });
    for (const isRaisedBefore of [true, false])
      for (const reason of [new Error("a better plan"), undefined, "a text"]) {
        const control = new AbortController();
        const { signal } = control;
        if (isRaisedBefore) control.abort(reason);
        const dispatched = kernel.dispatch(1, { args: [at], signal });
        if (!isRaisedBefore) control.abort(reason);
        await assert.rejects(dispatched, (error) => {
          assert.ok(error instanceof HmmError, String(error));
          assert.deepEqual([error.code, error.cause], ["ECANCELED", signal.reason]);
          return true;
        });
      }
  }),
);

test("a dispatch on a space that is gone names no address", { skip, timeout }, async () => {
  const space = await AddressSpace.create({ ramBytes: 2 ** 22 });
  await using device = await WebGpuDevice.create(space, { memoryBytes: 2 ** 20 });
  const at = await space.mmap(PAGE);
  await space.dispose();
  const kernel = device.kernel({ code: STORE, entryPoint: "main" });
  await assert.rejects(kernel.dispatch(1, { args: [at] }), (error) => {
    assert.ok(error instanceof HmmError);
    assert.deepEqual([error.code, error.address], ["ESRCH", undefined]);
    assert.match(error.message, /Cannot run kernel "main": the device's address space is gone/);
    return true;
  });
});

test("a fault says what is wrong with the address", { skip, timeout }, async () => {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 22 });
  const at = await space.mmap(PAGE);
  await using device = await WebGpuDevice.create(space, {
    memoryBytes: 2 ** 20,
    rangeBytes: PAGE,
  });
  const kernel = device.kernel({ code: STORE, entryPoint: "main" });
  const misaligned = await messageOf(kernel.dispatch(1, { args: [at + 2] }));
  assert.match(
    misaligned,
    /EINVAL: .*: it is no multiple of 4; .*whole words \(workgroup 0, 0, 0;/,
  );
  const code = `
@group(0) @binding(0) var<storage, read_write> row: array<u32>;
@compute @workgroup_size(1)
fn main() { row[0] = 1u; store_u32(arg_ptr(0), 1u); }`;
  const both = device.kernel({ code, entryPoint: "main" });
  const ranges = [{ variable: "row", address: at, lengthBytes: PAGE }];
  const into = await messageOf(both.dispatch(1, { args: [at], ranges }));
  assert.match(
    into,
    /EBUSY: .*: it lies in a direct range of the dispatch, .* the range's variable/,
  );
});

test("an end that was asked for says so", { skip, timeout }, () =>
  withDevice(2 ** 20, async (device, space) => {
    const code = `
@compute @workgroup_size(1)
fn main() { loop { if (load_u32(arg_ptr(0)) == 1u) { break; } } }`;
    const at = await space.mmap(PAGE);
    const dispatched = device.kernel({ code, entryPoint: "main" }).dispatch(1, { args: [at] });
    const message = messageOf(dispatched);
    await device[Symbol.asyncDispose]();
    assert.match(await message, /ECANCELED: .*its signal was raised, or the device disposed of/);
  }),
);

test("what the pipeline refuses has the entry point's place, and no more", { skip, timeout }, () =>
  withDevice(2 ** 20, async (device) => {
    const code = "\n@compute @workgroup_size(65535)\nfn main() {}";
    const message = await messageOf(device.kernel({ code, entryPoint: "main" }).compile());
    assert.match(message, /EINVAL: Cannot compile the kernel: 3:1: .*65535/);
    assert.doesNotMatch(message, /While|hmm_|unlabeled/);
  }),
);

test("a Worker that is none is refused, and nothing stays of the device", { timeout }, async () => {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 22 });
  const worker = (): never => ({}) as never;
  const messages = new Set<string>();
  // More than there is room for in the thread's list, if each left something.
  for (let i = 0; i < 600; i++)
    messages.add(await messageOf(WebGpuDevice.create(space, { memoryBytes: 2 ** 20, worker })));
  const [message = "", ...others] = messages;
  assert.deepEqual(others, []);
  assert.match(
    message,
    /EINVAL: .*`worker` returned .*return a Worker that calls serveWebGpuDevice/,
  );
});

test("a buffer without a length is told what it lacks", { skip, timeout }, () =>
  withDevice(2 ** 20, async (device) => {
    const message = await messageOf(device.buffer({}));
    assert.match(message, /EINVAL: .*it has no length; give lengthBytes, or bytes/);
  }),
);

test(
  "bytes that have gone to another thread, and none at all, are refused",
  { skip, timeout },
  () =>
    withDevice(2 ** 20, async (device) => {
      const code = `
@group(0) @binding(0) var<storage> given: array<u32>;
@compute @workgroup_size(1)
fn main() { store_u32(arg_ptr(0), given[0]); }`;
      const kernel = device.kernel({ code, entryPoint: "main" });
      const gone = new Uint32Array(4);
      structuredClone(gone, { transfer: [gone.buffer] });
      for (const bytes of [
        gone,
        gone.buffer,
        new DataView(new ArrayBuffer(4)),
        new Uint32Array(0),
      ]) {
        const isWhole = bytes instanceof DataView;
        if (isWhole) structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
        const message = await messageOf(kernel.dispatch(1, { bindings: { given: bytes } }));
        assert.match(message, /EINVAL: Cannot dispatch: (?:the length of )?bindings\.given is /);
      }
      assert.match(
        await messageOf(device.buffer({ bytes: gone })),
        /EINVAL: Cannot make the buffer: bytes is .*; give bytes/,
      );
    }),
);

test("the first line of a stack is that of the call", { skip, timeout }, () =>
  withDevice(2 ** 20, async (device, space) => {
    const kernel = device.kernel({ code: STORE, entryPoint: "main" });
    const bad = device.kernel({ code: `${STORE} }`, entryPoint: "main" });
    const memoryBytes = 2 ** 20;
    const calls: readonly (() => Promise<unknown>)[] = [
      async () => await WebGpuDevice.create(space, { memoryBytes, nodeFlags: ["backend=metal"] }),
      async () => await WebGpuDevice.create(space, { memoryBytes: 1 }),
      async () => await kernel.dispatch(1, { args: [64] }),
      async () => await kernel.dispatch(-1),
      async () => await bad.compile(),
      async () => await device.read(64, new Uint8Array(1)),
      async () => await device.prefetch(PAGE, PAGE),
      async () => await device.buffer({ lengthBytes: 2 ** 31 }),
      async () => await (await device.buffer({ lengthBytes: 4 })).write(new Uint8Array(5)),
    ];
    for (const [i, call] of calls.entries()) {
      try {
        const made = await call();
        if (made instanceof WebGpuDevice) await made[Symbol.asyncDispose]();
        else assert.fail("it did not fail");
      } catch (error) {
        assert.ok(error instanceof HmmError, String(error));
        const first = /\n\s+at [^\n]*/.exec(error.stack ?? "")?.[0];
        assert.match(first ?? "", /mistakes\.test\./, `call ${i}: ${error.stack}`);
      }
    }
  }),
);

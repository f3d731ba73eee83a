/** @module The WebGPU device as a program uses it. On whatever adapter there is. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { AddressSpace, DeviceFault, HmmError } from "../../../src/index.ts";
import { KernelCompileError, WebGpuDevice, WebGpuFault } from "../../../src/webgpu.ts";
import { missingGpu } from "./find-gpu.ts";
import { withDevice } from "./with-device.ts";

const skip = missingGpu;
const timeout = 60_000;
const PAGE = 4096;

const ADD_ONE = `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= arg_u32(2)) { return; }
  store_u32(ptr_at(arg_ptr(1), id.x, 4), load_u32(ptr_at(arg_ptr(0), id.x, 4)) + 1u);
}`;

const codeOf = (error: unknown): string | undefined =>
  error instanceof HmmError ? error.code : undefined;

test("a kernel sees what the CPU stored, and the CPU what it stored", { skip, timeout }, () =>
  withDevice(40 * PAGE, async (device, space) => {
    const count = 30_000; // 30 pages each way: more than the device has
    const from = await space.mmap(count * 4);
    const to = await space.mmap(count * 4);
    for (let i = 0; i < count; i++) space.u32.store(from + i * 4, i * 7);
    const kernel = device.kernel({ code: ADD_ONE, entryPoint: "main" });
    const { items, evictions } = await kernel.dispatch(Math.ceil(count / 64), {
      args: [from, to, count],
    });
    assert.equal(items, Math.ceil(count / 64));
    assert.ok(evictions > 0, "it did not fit");
    for (let i = 0; i < count; i++) assert.equal(space.u32.load(to + i * 4), i * 7 + 1);
    // what is there already, and what the CPU has changed since
    space.u32.store(from, 100);
    await kernel.dispatch(1, { args: [from, to, 64] });
    assert.equal(space.u32.load(to), 101);
  }),
);

test("pointers, vectors across pages, u32 form, arguments", { skip, timeout }, () =>
  withDevice(2 ** 20, async (device, space) => {
    const at = await space.mmap(4 * PAGE);
    const code = `
@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let p = arg_ptr(0);
  store_ptr(p, ptr_add(p, 4096u));
  store_vec4f(ptr_add(load_ptr(p), 4088u), vec4f(1.5, 2.5, 3.5, arg_f32(1)));
  store_u32(ptr_word(4u), arg_u32(2));
  store_i32(ptr_word(5u), arg_i32(3));
  store_vec3u(ptr_add(p, 64u), groups + group);
  store_u32(ptr_add(p, 80u), select(0u, 1u, ptr_equal(ptr_at(p, 0x10001000u, 0x1001u),
    vec2u(p.x + 0x11001000u, p.y + 0x100u + select(0u, 1u, p.x + 0x11001000u < p.x)))));
}`;
    await device.kernel({ code, entryPoint: "main" }).dispatch([1, 1, 1], {
      args: [at, 0.25, 4_000_000_000, -3],
      window: at,
    });
    assert.equal(space.ptr.load(at), at + PAGE);
    const floats = [0, 1, 2, 3].map((i) => space.f32.load(at + PAGE + 4088 + i * 4));
    assert.deepEqual(floats, [1.5, 2.5, 3.5, 0.25]);
    assert.equal(space.u32.load(at + 16), 4_000_000_000);
    assert.equal(space.i32.load(at + 20), -3);
    assert.equal(space.u32.load(at + 64), 1);
    assert.equal(space.u32.load(at + 80), 1, "index * bytes in 64 bits");
  }),
);

test(
  "a fault names address, access and workgroup, and nothing has happened",
  { skip, timeout },
  () =>
    withDevice(2 ** 20, async (device, space) => {
      const at = await space.mmap(2 * PAGE);
      const locked = await space.mmap(PAGE, { protection: "read" });
      const code = `
@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) group: vec3u) {
  store_u32(ptr_at(arg_ptr(0), group.x, 4), 7u);
  if (group.x == 2u && group.y == 1u) { store_u32(arg_ptr(1), load_u32(arg_ptr(1)) + 1u); }
}`;
      const kernel = device.kernel({ code, entryPoint: "main" });
      const failed = async (address: number): Promise<WebGpuFault> => {
        try {
          await kernel.dispatch([3, 2], { args: [at, address] });
        } catch (error) {
          if (error instanceof WebGpuFault) return error;
          throw error;
        }
        throw new Error("it did not fail");
      };
      const unmapped = await failed(2 ** 41);
      assert.equal(unmapped.code, "EFAULT");
      assert.equal(unmapped.address, 2 ** 41);
      assert.deepEqual(unmapped.workgroup, [2, 1, 0]);
      assert.equal(unmapped.committedWorkgroups, 0);
      assert.equal(space.u32.load(at), 0, "no workgroup has run");
      const readOnly = await failed(locked + 8);
      assert.deepEqual([readOnly.code, readOnly.access], ["EPERM", "write"]);
      assert.equal((await failed(at + 2)).code, "EINVAL");
      assert.equal((await failed(2 ** 52)).code, "EFAULT");
      await kernel.dispatch([3, 2], { args: [at, at + PAGE] });
      assert.equal(space.u32.load(at + PAGE), 1, "the device works on");
    }),
);

test("what does not compile is named with its place", { skip, timeout }, () =>
  withDevice(2 ** 20, async (device) => {
    const code = "@compute @workgroup_size(1)\nfn main() { loop { let x: u32 = 1.5; } }";
    await assert.rejects(device.kernel({ code, entryPoint: "main" }).compile(), (error) => {
      assert.ok(error instanceof KernelCompileError);
      assert.equal(error.code, "EINVAL");
      assert.deepEqual([error.errors[0]?.line, error.errors[0]?.column], [2, 33]);
      return true;
    });
  }),
);

test("a loop that does not end is ended, and undone", { skip, timeout }, async () => {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 22 });
  const at = await space.mmap(PAGE);
  const loopRoundsMax = 100_000;
  await using device = await WebGpuDevice.create(space, { memoryBytes: 2 ** 20, loopRoundsMax });
  const code = `
@compute @workgroup_size(1) fn main() {
  store_u32(arg_ptr(0), 1u);
  loop { if (load_u32(arg_ptr(0)) == 2u) { break; } }
}`;
  const kernel = device.kernel({ code, entryPoint: "main" });
  await assert.rejects(
    kernel.dispatch(1, { args: [at] }),
    (error) => codeOf(error) === "ETIMEDOUT",
  );
  assert.equal(space.u32.load(at), 0);
  const nested = `
@compute @workgroup_size(1) fn main() {
  for (var i = 0u; i < 4096u; i++) { for (var j = 0u; j < 4096u; j++) {
    for (var k = 0u; k < 4096u; k++) { store_u32(arg_ptr(0), k); } } }
}`;
  await assert.rejects(
    device.kernel({ code: nested, entryPoint: "main" }).dispatch(1, { args: [at] }),
    (error) => codeOf(error) === "ETIMEDOUT",
  );
  assert.equal(space.u32.load(at), 0);
});

test(
  "a loop with a barrier that does not end is ended, and a long one is not",
  { skip, timeout },
  () =>
    withDevice(2 ** 20, async (device, space) => {
      const at = await space.mmap(PAGE);
      const code = `
var<workgroup> rounds: u32;
fn wait_for(limit: u32) -> u32 {
  loop {
    if (workgroupUniformLoad(&rounds) >= limit) { return rounds; }
    workgroupBarrier();
  }
}
@compute @workgroup_size(8) fn main(@builtin(local_invocation_index) i: u32) {
  loop {
    let reached = workgroupUniformLoad(&rounds);
    if (reached == arg_u32(1)) { break; }
    if (i == 0u) { rounds += arg_u32(2); }
  }
  store_u32(ptr_at(arg_ptr(0), i, 4u), wait_for(arg_u32(1)) + i);
}`;
      const kernel = device.kernel({ code, entryPoint: "main" });
      const rounds = 40_000; // more than there is fuel for at first
      await kernel.dispatch(1, { args: [at, rounds, 1] });
      assert.equal(space.u32.load(at + 28), rounds + 7);
      await using poor = await WebGpuDevice.create(space, {
        memoryBytes: 2 ** 20,
        loopRoundsMax: 50_000,
      });
      const endless = poor.kernel({ code, entryPoint: "main" });
      await assert.rejects(
        endless.dispatch(1, { args: [at, rounds + 1, 0] }),
        (error) => codeOf(error) === "ETIMEDOUT",
      );
      assert.equal(space.u32.load(at + 28), rounds + 7, "undone");
      // One by one, and the others wait at the barrier.
      const lonely = `
@compute @workgroup_size(8) fn main(@builtin(local_invocation_index) i: u32) {
  for (var k = 1u; k <= i;) { store_u32(arg_ptr(0), k); }
  workgroupBarrier();
}`;
      await assert.rejects(
        poor.kernel({ code: lonely, entryPoint: "main" }).dispatch(1, { args: [at] }),
        (error) => codeOf(error) === "ETIMEDOUT",
      );
    }),
);

test("a loop that takes too long is ended before its rounds are", { skip, timeout }, async () => {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 22 });
  const at = await space.mmap(PAGE);
  const options = { memoryBytes: 2 ** 20, loopRoundsMax: 2 ** 31, loopMsMax: 1 };
  await using device = await WebGpuDevice.create(space, options);
  const code = `
@compute @workgroup_size(1) fn main(@builtin(workgroup_id) id: vec3u) {
  let p = ptr_at(arg_ptr(0), id.x, 4u);
  store_u32(p, 1u);
  if (id.x == 2u) { loop { if (load_u32(p) == 2u) { break; } } }
}`;
  const kernel = device.kernel({ code, entryPoint: "main" });
  await assert.rejects(kernel.dispatch(8, { args: [at] }), (error) => {
    assert.ok(error instanceof HmmError);
    assert.equal(error.code, "ETIMEDOUT");
    assert.match(error.message, /rounds of its loops in .* s \(.*larger loopMsMax$/);
    return true;
  });
  assert.equal(space.u32.load(at + 8), 0, "nothing of the one that does not end");
  const { items } = await kernel.dispatch(2, { args: [at] });
  assert.deepEqual([items, space.u32.load(at + 4)], [2, 1]);
});

test("a signal, and disposal, end a dispatch between two passes", { skip, timeout }, async () => {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 22 });
  const at = await space.mmap(PAGE);
  const device = await WebGpuDevice.create(space, { memoryBytes: 2 ** 20 });
  const code = `
@compute @workgroup_size(64) fn main() {
  for (var i = 0u; i < 3000u; i++) { if (load_u32(arg_ptr(0)) == 5u) { break; } }
  store_u32(arg_ptr(0), 1u);
}`;
  const kernel = device.kernel({ code, entryPoint: "main" });
  const aborter = new AbortController();
  const aborted = kernel.dispatch(10_000_000, { args: [at], signal: aborter.signal });
  setTimeout(() => aborter.abort(), 20);
  await assert.rejects(aborted, (error) => codeOf(error) === "ECANCELED");
  const given = kernel.dispatch(10_000_000, { args: [at] });
  const outcome = assert.rejects(given, (error) => codeOf(error) === "ECANCELED");
  await device[Symbol.asyncDispose]();
  await outcome;
  await assert.rejects(kernel.dispatch(1), (error) => codeOf(error) === "EBADF");
  assert.ok(device.statsSync().passes > 0, "its numbers stay");
});

test("read, write and snapshot go by way of the device", { skip, timeout }, () =>
  withDevice(8 * PAGE, async (device, space) => {
    const at = await space.mmap(20 * PAGE);
    const bytes = Uint8Array.from({ length: 15 * PAGE }, (_, i) => i % 251);
    assert.equal((await device.write(at + 5, bytes)).pages, 16);
    const back = new Uint8Array(bytes.length);
    await space.read(at + 5, back);
    assert.deepEqual(back, bytes);
    back.fill(0);
    await device.read(at + 5, back);
    assert.deepEqual(back, bytes);
    assert.deepEqual(await device.snapshot(at + 18 * PAGE, PAGE), ["none"]);
    await assert.rejects(device.read(2 ** 41, back), (error) => error instanceof DeviceFault);
  }),
);

test("shared memory and buffers are exact at the borders of a dispatch", { skip, timeout }, () =>
  withDevice(2 ** 20, async (device, space) => {
    const buffer = new SharedArrayBuffer(2 * PAGE);
    const words = new Uint32Array(buffer);
    const lent = await space.mmap(2 * PAGE, { buffer });
    const shared = await space.mmap(PAGE, { shared: true });
    const code = `
@compute @workgroup_size(1) fn main() {
  store_u32(ptr_add(arg_ptr(0), 4u), load_u32(arg_ptr(0)) * 2u);
  _ = atomic_add_u32(arg_ptr(1), load_u32(ptr_add(arg_ptr(0), 4096u)));
}`;
    const kernel = device.kernel({ code, entryPoint: "main" });
    for (let round = 1; round < 4; round++) {
      words[0] = round * 100; // nobody is notified
      words[1024] = round;
      await kernel.dispatch(1, { args: [lent, shared] });
      assert.equal(words[1], round * 200);
    }
    assert.equal(space.u32.load(shared), 1 + 2 + 3);
  }),
);

for (const quiet of [false, true]) {
  test(
    `${quiet ? "quiet: " : ""}a buffer is copied once, or for each dispatch`,
    { skip, timeout },
    async () => {
      await using space = await AddressSpace.create({ ramBytes: 2 ** 22 });
      await using device = await WebGpuDevice.create(space, { memoryBytes: 2 ** 20, quiet });
      const buffer = new SharedArrayBuffer(PAGE);
      const lent = await space.mmap(PAGE, { buffer });
      const result = await space.mmap(PAGE);
      const code = `
@compute @workgroup_size(1) fn main() { store_u32(arg_ptr(1), load_u32(arg_ptr(0))); }`;
      const kernel = device.kernel({ code, entryPoint: "main" });
      for (const value of [1, 2]) {
        new Uint32Array(buffer)[0] = value; // nobody is notified
        await kernel.dispatch(1, { args: [lent, result] });
      }
      // What the program has promised is believed: the write was unseen.
      assert.equal(space.u32.load(result), quiet ? 1 : 2);
    },
  );
}

test("a GPU that is lost is replaced, and loses nothing", { skip, timeout }, () =>
  withDevice(2 ** 20, async (device, space) => {
    const at = await space.mmap(PAGE);
    const code = `
@compute @workgroup_size(64) fn main() { _ = atomic_add_u32(arg_ptr(0), 1u); }`;
    const kernel = device.kernel({ code, entryPoint: "main" });
    await kernel.dispatch(10, { args: [at] });
    for (const delayMs of [0, 1, 3, 8, 20]) {
      const dispatch = kernel.dispatch(4_000, { args: [at] });
      await new Promise((resolve) => {
        setTimeout(resolve, delayMs);
      });
      await device.loseGpu();
      await dispatch;
    }
    assert.equal(space.u32.load(at), 64 * (10 + 5 * 4_000));
    assert.ok(device.statsSync().losses >= 1);
  }),
);

test("what cannot be made is refused", { skip, timeout }, async () => {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 22 });
  const made = (options: Parameters<typeof WebGpuDevice.create>[1]): Promise<unknown> =>
    WebGpuDevice.create(space, options);
  await assert.rejects(made({ memoryBytes: 100 }), (error) => codeOf(error) === "EINVAL");
  await assert.rejects(made({ memoryBytes: 2 ** 34 }), (error) => codeOf(error) === "EINVAL");
  const at = await space.mmap(64 * PAGE);
  await using device = await WebGpuDevice.create(space, { memoryBytes: 8 * PAGE });
  const code = `
@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) {
  store_u32(ptr_at(arg_ptr(0), i, 4096u), 1u);
}`;
  const kernel = device.kernel({ code, entryPoint: "main" });
  await assert.rejects(kernel.dispatch(1, { args: [at] }), (error) => codeOf(error) === "ENOMEM");
});

test("addresses are computed in 64 bits, with numbers and without", { skip, timeout }, () =>
  withDevice(2 ** 20, async (device, space) => {
    const out = await space.mmap(PAGE);
    const sizes = ["2u", "4u", "32768u", "65535u", "12u"];
    const code = `
@compute @workgroup_size(1) fn main() {
  let bytes = array(${sizes.join(", ")});
${sizes
  .map((size, i) => {
    const address = `store_ptr(ptr_add(arg_ptr(0), ${i * 16}u), ptr_at(arg_ptr(1), arg_u32(2),`;
    const other = `store_ptr(ptr_add(arg_ptr(0), ${i * 16 + 8}u), ptr_at(arg_ptr(1), arg_u32(2),`;
    return `  ${address} ${size})); ${other} bytes[${i}u + arg_u32(3)]));`;
  })
  .join("\n")}
}`;
    const kernel = device.kernel({ code, entryPoint: "main" });
    for (const base of [0, 0xfff_ffff_f000, 0x3_ffff_fff0, 4096])
      for (const index of [0, 1, 0xffff, 0x10001, 0x3fff_ffff, 0xc000_0001, 0xffff_ffff]) {
        await kernel.dispatch(1, { args: [out, base, index, 0] });
        const bytes = new Uint8Array(sizes.length * 16);
        await space.read(out, bytes);
        const expected = sizes.flatMap((size) => {
          const address = BigInt(base) + BigInt(index) * BigInt(Number.parseInt(size, 10));
          return [address, address];
        });
        assert.deepEqual([...new BigUint64Array(bytes.buffer)], expected, `${base} + ${index}`);
      }
  }),
);

test(
  "two devices add to one word, and none takes the other's pages for its own",
  {
    skip,
    timeout,
  },
  () =>
    withDevice(2 ** 20, async (device, space) => {
      await using other = await WebGpuDevice.create(space, { memoryBytes: 2 ** 20 });
      const at = await space.mmap(PAGE);
      const code = "@compute @workgroup_size(64) fn main() { _ = atomic_add_u32(arg_ptr(0), 1u); }";
      const kernels = [device, other].map((one) => one.kernel({ code, entryPoint: "main" }));
      for (let round = 0; round < 5; round++) {
        // by turns: each has the page on its GPU when the other takes it
        for (const kernel of kernels) await kernel.dispatch(1, { args: [at] });
        await Promise.all(kernels.map((kernel) => kernel.dispatch(4, { args: [at] })));
      }
      assert.equal(space.u32.load(at), 64 * 5 * 10);
    }),
);

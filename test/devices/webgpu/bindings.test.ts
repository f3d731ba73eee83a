/** @module Variables of a kernel's own: what is bound to them, and that replays do not show. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { HmmError } from "../../../src/index.ts";
import { KernelCompileError, WebGpuDevice, type WebGpuBinding } from "../../../src/webgpu.ts";
import { missingGpu } from "./find-gpu.ts";
import { withDevice } from "./with-device.ts";

const skip = missingGpu;
const timeout = 60_000;
const PAGE = 4096;

const codeOf = (error: unknown): string | undefined =>
  error instanceof HmmError ? error.code : undefined;

function refusedWith(code: string, message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.equal(codeOf(error), code, String(error));
    assert.match(String(error), message);
    return true;
  };
}

test("uniforms, storage, textures and samplers stand beside pointers", { skip, timeout }, () =>
  withDevice(2 ** 20, async (device, space) => {
    const at = await space.mmap(PAGE);
    const code = `
struct Camera { scale: f32, offset: vec3f }
alias Picture = texture_2d<f32>;
@group(0) @binding(0) var<uniform> camera: Camera;
@group(0) @binding(3) var<storage, read> table: array<u32>;
@group(2) @binding(1) var picture: Picture;
@group(2) @binding(2) var nearest: sampler;
@group(1) @binding(0) var<storage, read_write> sums: array<atomic<u32>, 4>;
@compute @workgroup_size(4)
fn main(@builtin(local_invocation_index) i: u32) {
  let colour = textureSampleLevel(picture, nearest, vec2f(0.75, 0.25), 0.0);
  store_f32(ptr_at(arg_ptr(0), i, 4u), f32(table[i]) * camera.scale + camera.offset.z + colour.g);
  atomicAdd(&sums[i % 4u], arrayLength(&table) + i);
}`;
    await using sums = await device.buffer({ lengthBytes: 16, name: "sums" });
    await using picture = await device.texture({
      width: 2,
      height: 1,
      format: "rgba8unorm",
      bytes: Uint8Array.of(0, 0, 0, 0, 0, 255, 0, 255),
    });
    const kernel = device.kernel({ code, entryPoint: "main" });
    const bindings = {
      camera: Float32Array.of(2, 0, 0, 0, 0, 0, 10),
      table: Uint32Array.of(1, 2, 3, 4, 5),
      picture,
      nearest: { magFilter: "nearest" as const },
      sums,
    };
    await kernel.dispatch(1, { args: [at], bindings });
    const floats = [0, 1, 2, 3].map((i) => space.f32.load(at + i * 4));
    assert.deepEqual(floats, [13, 15, 17, 19]);
    await sums.write(Uint32Array.of(100), 4);
    await kernel.dispatch(1, { args: [at], bindings });
    const got = new Uint32Array((await sums.read()).buffer);
    assert.deepEqual([...got], [10, 106, 14, 16]);
  }),
);

const COUNTING = `
@group(0) @binding(0) var<storage, read_write> counts: array<atomic<u32>>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  atomicAdd(&counts[id.x % 16u], 1u);
  store_u32(ptr_at(arg_ptr(0), id.x, 64u), load_u32(ptr_at(arg_ptr(0), id.x, 64u)) + 1u);
}`;

test("passes that are run again add nothing to a bound buffer twice", { skip, timeout }, () =>
  withDevice(24 * PAGE, async (device, space) => {
    const workgroups = 64; // 64 pages: several chunks, each of which misses first
    const at = await space.mmap(workgroups * PAGE);
    await using counts = await device.buffer({ lengthBytes: 64 });
    const kernel = device.kernel({ code: COUNTING, entryPoint: "main" });
    for (let round = 1; round <= 2; round++) {
      const { replays } = await kernel.dispatch(workgroups, { args: [at], bindings: { counts } });
      assert.ok(replays > 0, "it did not fit");
      const got = new Uint32Array((await counts.read()).buffer);
      assert.deepEqual(
        [...got],
        Array.from({ length: 16 }, () => round * workgroups * 4),
      );
    }
    assert.equal(space.u32.load(at + 5 * 64), 2);
  }),
);

test("what a dispatch that fails has stored to a bound buffer is undone", { skip, timeout }, () =>
  withDevice(2 ** 20, async (device, space) => {
    const at = await space.mmap(PAGE);
    await using counts = await device.buffer({ bytes: Uint32Array.of(7, 8, 9, 0) });
    const kernel = device.kernel({ code: COUNTING, entryPoint: "main" });
    await assert.rejects(kernel.dispatch(2, { args: [at], bindings: { counts } }), (error) => {
      return codeOf(error) === "EFAULT";
    });
    assert.deepEqual([...new Uint32Array((await counts.read()).buffer)], [7, 8, 9, 0]);
  }),
);

test("a lost GPU takes what a kernel has stored to a buffer, and no more", { skip, timeout }, () =>
  withDevice(2 ** 20, async (device, space) => {
    const at = await space.mmap(4 * PAGE);
    await using counts = await device.buffer({ bytes: new Uint32Array(16) });
    const kernel = device.kernel({ code: COUNTING, entryPoint: "main" });
    await device.loseGpu();
    await kernel.dispatch(2, { args: [at], bindings: { counts } });
    assert.equal(new Uint32Array((await counts.read()).buffer)[0], 8);
    await device.loseGpu();
    const lost = refusedWith("ENODEV", /the GPU that had its content was lost/u);
    await assert.rejects(kernel.dispatch(2, { args: [at], bindings: { counts } }), lost);
    await assert.rejects(counts.read(), lost);
    await counts.write(new Uint32Array(16));
    await kernel.dispatch(2, { args: [at], bindings: { counts } });
    assert.equal(new Uint32Array((await counts.read()).buffer)[0], 8);
  }),
);

test("bindings that do not fit the kernel are refused before it runs", { skip, timeout }, () =>
  withDevice(2 ** 20, async (device, space) => {
    const at = await space.mmap(PAGE);
    const code = `
@group(0) @binding(0) var<uniform> scale: vec4u;
@group(0) @binding(1) var<storage, read_write> out: array<u32, 8>;
@compute @workgroup_size(1) fn main() { out[0] = scale.x; store_u32(arg_ptr(0), scale.y); }`;
    const kernel = device.kernel({ code, entryPoint: "main" });
    const scale = Uint32Array.of(1, 2, 3, 4);
    await using out = await device.buffer({ lengthBytes: 32 });
    await using small = await device.buffer({ lengthBytes: 16 });
    await using other = await WebGpuDevice.create(space, { memoryBytes: 2 ** 20 });
    await using foreign = await other.buffer({ lengthBytes: 32 });
    const gone = await device.buffer({ lengthBytes: 32 });
    await gone[Symbol.asyncDispose]();
    const refused = async (bindings: unknown, errno: string, message: RegExp): Promise<void> => {
      const given = bindings as Record<string, WebGpuBinding>;
      const dispatch = kernel.dispatch(1, { args: [at], bindings: given });
      await assert.rejects(dispatch, refusedWith(errno, message));
    };
    await refused({ scale }, "EINVAL", /nothing is bound to "out" \(3:48\)/u);
    await refused({ scale, out, more: out }, "EINVAL", /no variable "more"/u);
    await refused({ scale, out: scale }, "EINVAL", /make a buffer of them/u);
    await refused({ scale, out: { magFilter: "nearest" } }, "EINVAL", /cannot be a sampler/u);
    await refused(
      { scale, out: small },
      "EINVAL",
      /"out" \(3:48\) has 32 bytes, and 16 are bound/u,
    );
    const short = Uint32Array.of(1);
    await refused({ scale: short, out }, "EINVAL", /"scale" .* has 16 bytes, and 4 are bound/u);
    await refused({ scale, out: foreign }, "EINVAL", /another device/u);
    await refused({ scale, out: gone }, "EBADF", /disposed of/u);
    await refused({ scale, out: 5 }, "EINVAL", /bindings\.out is 5/u);
    await kernel.dispatch(1, { args: [at], bindings: { scale, out } });
    assert.equal(space.u32.load(at), 2);
    await assert.rejects(device.buffer({}), refusedWith("EINVAL", /length/u));
    await assert.rejects(
      device.texture({ width: 1, height: 1, format: "rgb5", bytes: new Uint8Array(4) }),
      (error) => codeOf(error) === "EINVAL",
    );
  }),
);

test("variables that cannot be bound are refused at their place", { skip, timeout }, () =>
  withDevice(2 ** 20, async (device) => {
    const placeOf = async (declarations: string): Promise<string> => {
      const code = `${declarations}\n@compute @workgroup_size(1) fn main() {}`;
      try {
        await device.kernel({ code, entryPoint: "main" }).compile();
      } catch (error) {
        if (!(error instanceof KernelCompileError)) throw error;
        return error.errors.map((one) => `${one.line}:${one.column} ${one.message}`).join("|");
      }
      return "";
    };
    assert.match(await placeOf("\n@group(3) @binding(0) var<uniform> a: u32;"), /^2:36 group 3/u);
    assert.match(
      await placeOf("@group(0) @binding(0) var a: texture_storage_2d<rgba8unorm, write>;"),
      /^1:27 "a" may be read only/u,
    );
    assert.match(await placeOf("@group(0) var<uniform> a: u32;"), /needs @group and @binding/u);
    assert.match(
      await placeOf("@group(0) @binding(0) var a: texture_storage_2d<rgb5, read>;"),
      /^1:\d+ /u,
    );
    const code = `var<workgroup> much: array<u32, 60000>;
@compute @workgroup_size(1) fn main() { much[0] = 1u; }`;
    await assert.rejects(device.kernel({ code, entryPoint: "main" }).compile(), /2:29: .*storage/u);
    const many = Array.from({ length: 64 }, (_, i) => {
      return `@group(0) @binding(${i}) var<storage> b${i}: u32;`;
    });
    assert.match(await placeOf(many.join("\n")), /^\d+:\d+ "b\d+" is one too many/u);
    // What the compiler says of a place behind such variables is true as well.
    assert.match(
      await placeOf("@group(0) @binding(0) var<uniform> a: u32;\nconst b: f32 = 1u;"),
      /^2:\d+ /u,
    );
  }),
);

test(
  "a texture of other bytes than its texels, and a misspelt sampler, are refused",
  {
    skip,
    timeout,
  },
  () =>
    withDevice(2 ** 20, async (device, space) => {
      const make = (format: string, length: number): Promise<unknown> =>
        device.texture({ width: 2, height: 2, format, bytes: new Uint8Array(length) });
      for (const [format, right] of [
        ["rgba8unorm", 16],
        ["rg16float", 16],
        ["rgba32uint", 64],
        ["rgb10a2unorm", 16],
        ["bgra8unorm", 16],
        ["r8sint", 4],
        ["depth16unorm", 8],
      ] as const) {
        await make(format, right);
        // What is too much was once taken for gaps between the rows.
        for (const length of [right + 2, right * 2, right / 2])
          await assert.rejects(
            make(format, length),
            refusedWith("EINVAL", new RegExp(`${length} bytes; give ${right}: 2 rows of 2`, "u")),
          );
      }
      const at = await space.mmap(PAGE);
      const code = `
@group(0) @binding(0) var picture: texture_2d<f32>;
@group(0) @binding(1) var nearest: sampler;
@compute @workgroup_size(1) fn main() {
  store_f32(arg_ptr(0), textureSampleLevel(picture, nearest, vec2f(0.5), 0.0).x);
}`;
      const kernel = device.kernel({ code, entryPoint: "main" });
      const bytes = new Uint8Array(4);
      const picture = await device.texture({ width: 1, height: 1, format: "r32float", bytes });
      const small = { width: 1, height: 1, format: "rgba8uint", bytes };
      const refused = async (bindings: unknown, message: RegExp): Promise<void> => {
        const given = bindings as Record<string, WebGpuBinding>;
        const dispatch = kernel.dispatch(1, { args: [at], bindings: given });
        await assert.rejects(dispatch, refusedWith("EINVAL", message));
      };
      await refused(
        { picture, nearest: { magFiltre: "linear" } },
        /no option "magFiltre" in bindings\.nearest; give magFilter/u,
      );
      await refused({ picture, nearest: { magFilter: "cubic" } }, /nearest\.magFilter is "cubic"/u);
      const named = /"picture" \(2:\d+\): (?!.*\n.*While)/u;
      await refused({ picture: await device.texture(small), nearest: {} }, named);
    }),
);

/** @module Direct ranges: memory of the address space as plain arrays of a kernel. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { array, assert as check, integer, property, record } from "fast-check";
import { Rows } from "../../../src/devices/webgpu/rows.ts";
import { AddressSpace, HmmError } from "../../../src/index.ts";
import { WebGpuDevice, WebGpuFault, type WebGpuRange } from "../../../src/webgpu.ts";
import { missingGpu } from "./find-gpu.ts";

const skip = missingGpu;
const timeout = 60_000;
const PAGE = 4096;

interface Sizes {
  readonly poolPages: number;
  readonly rangePages: number;
}

async function withDevice(
  { poolPages, rangePages }: Sizes,
  use: (device: WebGpuDevice, space: AddressSpace) => Promise<void>,
): Promise<void> {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 24 });
  await using device = await WebGpuDevice.create(space, {
    memoryBytes: (poolPages + 2 + rangePages) * PAGE,
    rangeBytes: rangePages * PAGE,
  });
  await use(device, space);
}

const codeOf = (error: unknown): string | undefined =>
  error instanceof HmmError ? error.code : undefined;

const DOUBLING = `
@group(0) @binding(0) var<storage, read> data: array<u32>;
@group(0) @binding(1) var<storage, read_write> doubled: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < arrayLength(&data)) { doubled[id.x] = data[id.x] * 2u; }
}`;

test("a range is a plain array, and coherent with the CPU", { skip, timeout }, () =>
  withDevice({ poolPages: 4, rangePages: 64 }, async (device, space) => {
    const count = 30 * 1024 - 64; // the range begins within a page
    const at = await space.mmap(30 * PAGE);
    const out = await space.mmap(30 * PAGE);
    for (let i = 0; i < count; i++) space.u32.store(at + 256 + i * 4, i);
    space.u32.store(out + count * 4, 77); // behind the range, in its last page
    const kernel = device.kernel({ code: DOUBLING, entryPoint: "main" });
    const ranges: readonly WebGpuRange[] = [
      { variable: "data", address: at + 256, lengthBytes: count * 4 },
      { variable: "doubled", address: out, lengthBytes: count * 4 },
    ];
    const workgroups = Math.ceil(count / 64);
    const first = await kernel.dispatch(workgroups, { ranges });
    assert.equal(first.bytesToDevice, 60 * PAGE);
    assert.equal(first.faults, 0);
    for (let i = 0; i < count; i++) assert.equal(space.u32.load(out + i * 4), i * 2);
    assert.equal(space.u32.load(out + count * 4), 77);
    space.u32.store(at + 256 + 4 * 5000, 123);
    const second = await kernel.dispatch(workgroups, { ranges });
    assert.equal(space.u32.load(out + 4 * 5000), 246, "the CPU's store is seen");
    // the page that was stored to, and those of the results, which the CPU has loaded
    assert.ok(second.bytesToDevice <= 31 * PAGE, `${second.bytesToDevice}`);
    const third = await kernel.dispatch(workgroups, { ranges });
    assert.ok(third.bytesToDevice <= PAGE, "the others are still there");
  }),
);

const MIXED = `
@group(0) @binding(0) var<storage, read_write> counts: array<atomic<u32>, 1024>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) i: u32) {
  let p = ptr_at(arg_ptr(0), group.x, 4096u);
  atomicAdd(&counts[load_u32(p) + i], 1u);
  if (i == 0u) { store_u32(ptr_add(p, 4u), atomicLoad(&counts[1023]) + 1u); }
}`;

test("what is run again shows in no range", { skip, timeout }, () =>
  withDevice({ poolPages: 24, rangePages: 1 }, async (device, space) => {
    const at = await space.mmap(64 * PAGE);
    const counts = await space.mmap(PAGE);
    for (let page = 0; page < 64; page++) space.u32.store(at + page * PAGE, page % 8);
    const kernel = device.kernel({ code: MIXED, entryPoint: "main" });
    const ranges = [{ variable: "counts", address: counts, lengthBytes: PAGE }];
    for (let round = 1; round <= 2; round++) {
      const { replays } = await kernel.dispatch(64, { args: [at], ranges });
      assert.ok(replays > 0, "it did not fit");
      for (let i = 0; i < 72; i++) {
        const groups = Math.min(i, 7) - Math.max(0, i - 63) + 1;
        assert.equal(space.u32.load(counts + i * 4), round * 8 * groups, `count ${i}`);
      }
    }
    assert.equal(space.u32.load(at + 5 * PAGE + 4), 1);
  }),
);

test("pointers and ranges do not reach the same page in one dispatch", { skip, timeout }, () =>
  withDevice({ poolPages: 24, rangePages: 2 }, async (device, space) => {
    const at = await space.mmap(2 * PAGE);
    const kernel = device.kernel({ code: MIXED, entryPoint: "main" });
    const inRange = [{ variable: "counts", address: at + PAGE, lengthBytes: PAGE }];
    await assert.rejects(kernel.dispatch(2, { args: [at], ranges: inRange }), (error) => {
      assert.ok(error instanceof WebGpuFault);
      assert.deepEqual([error.code, error.address], ["EBUSY", at + PAGE]);
      return true;
    });
    assert.equal(space.u32.load(at + PAGE), 0, "nothing has happened");
    await kernel.dispatch(1, { args: [at], ranges: inRange });
    assert.equal(space.u32.load(at + PAGE), 1);
    // when the dispatch is over, its range is memory like all other
    const other = await space.mmap(PAGE);
    const ranges = [{ variable: "counts", address: other, lengthBytes: PAGE }];
    await kernel.dispatch(2, { args: [at], ranges });
    assert.equal(space.u32.load(at + PAGE + 4), 1);
  }),
);

test("a lost GPU loses no range", { skip, timeout }, () =>
  withDevice({ poolPages: 8, rangePages: 16 }, async (device, space) => {
    const at = await space.mmap(8 * PAGE);
    const out = await space.mmap(8 * PAGE);
    const ranges = [
      { variable: "data", address: at, lengthBytes: 8 * PAGE },
      { variable: "doubled", address: out, lengthBytes: 8 * PAGE },
    ];
    const kernel = device.kernel({ code: DOUBLING, entryPoint: "main" });
    for (let round = 1; round < 4; round++) {
      for (let i = 0; i < 8 * 1024; i++) space.u32.store(at + i * 4, i * round);
      const dispatch = kernel.dispatch(128, { ranges });
      if (round > 1) await device.loseGpu();
      await dispatch;
      for (let i = 0; i < 8 * 1024; i += 7)
        assert.equal(space.u32.load(out + i * 4), i * round * 2);
    }
    assert.ok(device.statsSync().losses > 0);
  }),
);

test("ranges that cannot be are refused", { skip, timeout }, () =>
  withDevice({ poolPages: 8, rangePages: 3 }, async (device, space) => {
    const at = await space.mmap(4 * PAGE);
    const locked = await space.mmap(PAGE, { protection: "read" });
    const kernel = device.kernel({ code: DOUBLING, entryPoint: "main" });
    const refused = async (
      data: Partial<WebGpuRange>,
      doubled: Partial<WebGpuRange>,
      code: string,
    ): Promise<void> => {
      const ranges = [
        { variable: "data", address: at, lengthBytes: PAGE, ...data },
        { variable: "doubled", address: at + 2 * PAGE, lengthBytes: PAGE, ...doubled },
      ];
      await assert.rejects(kernel.dispatch(1, { ranges }), (error) => codeOf(error) === code, code);
    };
    await refused({ lengthBytes: 2 * PAGE }, { lengthBytes: 2 * PAGE }, "ENOMEM");
    await refused({ lengthBytes: PAGE + 4 }, { address: at + PAGE + 256 }, "EINVAL");
    await refused({ address: at + 4 }, {}, "EINVAL");
    await refused({ lengthBytes: 6 }, {}, "EINVAL");
    await refused({ variable: "doubled" }, {}, "EINVAL");
    await refused({ variable: "more" }, {}, "EINVAL");
    await refused({ address: 2 ** 40 }, {}, "EFAULT");
    await refused({}, { address: locked }, "EPERM");
    const ranges = [
      { variable: "data", address: locked, lengthBytes: PAGE },
      { variable: "doubled", address: at, lengthBytes: PAGE },
    ];
    await kernel.dispatch(1, { ranges });
    await using plain = await WebGpuDevice.create(space, { memoryBytes: 8 * PAGE });
    const without = plain.kernel({ code: DOUBLING, entryPoint: "main" }).dispatch(1, { ranges });
    await assert.rejects(without, /more rangeBytes/u);
  }),
);

test("rows: what is wanted is there once, apart from all others, and stays where it was", () => {
  const wanted = array(
    record({ startPage: integer({ min: 0, max: 12 }), pages: integer({ min: 1, max: 5 }) }),
    {
      maxLength: 4,
    },
  );
  check(
    property(array(wanted, { maxLength: 12 }), (steps) => {
      const rows = new Rows(100, 12);
      for (const step of steps) {
        // each in a 16th of the addresses, so that no two have a page in common
        const distinct = step.filter(
          (one, i) => step.findIndex((other) => other.startPage === one.startPage) === i,
        );
        const sum = distinct.reduce((total, { pages }) => total + pages, 0);
        if (sum > 12) continue;
        const before = new Map(rows.all.map((row) => [`${row.startPage} ${row.pages}`, row.first]));
        const dropped = new Set<number>();
        rows.activate(
          distinct.map(({ startPage, pages }) => ({
            startPage: startPage * 16,
            pages,
            isWrite: false,
          })),
          (frame) => dropped.add(frame),
        );
        assert.equal(rows.active.length, distinct.length);
        const used = new Set<number>();
        for (const { first, pages } of rows.all) {
          assert.ok(first >= 100 && first + pages <= 112);
          for (let i = 0; i < pages; i++) {
            assert.ok(!used.has(first + i), "two rows have one frame");
            used.add(first + i);
          }
        }
        for (const { startPage, pages, first } of rows.active) {
          assert.equal(rows.frameFor(startPage + pages - 1), first + pages - 1);
          const old = before.get(`${startPage} ${pages}`);
          if (old !== undefined && old !== first) assert.ok(dropped.has(old), "moved, not dropped");
        }
        rows.deactivate();
        for (const { startPage } of rows.all) assert.equal(rows.frameFor(startPage), 0);
      }
    }),
  );
});

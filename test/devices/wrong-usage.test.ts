/**
 * @module Wrong usage of every kind: what a program gets for it. Each row is a call, the code of
 * the error, and what its message says. The first line of the stack is that of the call.
 */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import {
  AddressSpace,
  DeviceFault,
  HmmError,
  KernelFailure,
  SoftwareDevice,
  type View,
} from "../../src/index.ts";
import type { HmmErrorCode } from "../../src/sync/errno.ts";

const PAGE = 4096;

const space: AddressSpace = AddressSpace.createSync({ ramBytes: 64 * PAGE, heapBytes: 2 ** 21 });
const p: number = space.mmapSync(4 * PAGE);
const view: View = space.viewSync(p, PAGE, "read");
const device: SoftwareDevice = await SoftwareDevice.create(space, { memoryBytes: 4 * PAGE });
const gone: AddressSpace = AddressSpace.createSync({ ramBytes: 16 * PAGE, heapBytes: 2 ** 20 });
gone.disposeSync();
after(async () => {
  view.disposeSync();
  await device[Symbol.asyncDispose]();
  space.disposeSync();
});

const module: URL = new URL("./kernels.js", import.meta.url);

/**
 * The programs of this table have no types: each value goes in as it is.
 */
type Any = never;

type Row = readonly [code: HmmErrorCode, message: RegExp, call: () => unknown];

const create = (options?: unknown): unknown => AddressSpace.createSync(options as Any);
const makeDevice = async (...args: unknown[]): Promise<unknown> =>
  await SoftwareDevice.create(args[0] as Any, args[1] as Any);
const kernel = (options?: unknown): unknown => device.kernel(options as Any);

const ROWS: readonly Row[] = [
  // Options: unknown names, with the nearest known one.
  ["EINVAL", /no option "rambytes"; give ramBytes/, () => create({ rambytes: 1 })],
  ["EINVAL", /no option "heapByte"; give heapBytes/, () => create({ heapByte: 1 })],
  ["EINVAL", /no option "zzz"; give one of ramBytes, /, () => create({ zzz: 1 })],
  [
    "EINVAL",
    /no option "mapping" in limits; give mappings/,
    () => create({ limits: { mapping: 1 } }),
  ],
  ["EINVAL", /no option "adress"; give address/, () => space.mmapSync(PAGE, { adress: p } as Any)],
  [
    "EINVAL",
    /no option "offset"; give offsetBytes/,
    () => space.mmapSync(PAGE, { offset: 0 } as Any),
  ],
  [
    "EINVAL",
    /no option "maymove"; give mayMove/,
    () => space.mremapSync(p, PAGE, PAGE, { maymove: true } as Any),
  ],
  [
    "EINVAL",
    /no option "memorybytes"; give memoryBytes/,
    () => makeDevice(space, { memorybytes: 1 }),
  ],
  [
    "EINVAL",
    /no option "exportname"; give exportName/,
    () => kernel({ module, exportname: "square" }),
  ],
  [
    "EINVAL",
    /no option "arguments"; give args/,
    async () =>
      await device.kernel({ module, exportName: "square" }).dispatch(1, { arguments: [1] } as Any),
  ],
  // Options: wrong types, and what cannot be read.
  ["EINVAL", /the options are null; give an object or nothing/, () => create(null)],
  ["EINVAL", /the options are "64 MiB"; give an object/, () => create("64 MiB")],
  ["EINVAL", /ramBytes is "64"; give a whole number above 0/, () => create({ ramBytes: "64" })],
  ["EINVAL", /ramBytes is 64n; give/, () => create({ ramBytes: 64n })],
  ["EINVAL", /ramBytes is NaN; give/, () => create({ ramBytes: Number.NaN })],
  ["EINVAL", /debug is 1; give true or false/, () => create({ debug: 1 })],
  ["EINVAL", /limits is 3; give an object/, () => create({ limits: 3 })],
  ["EINVAL", /limits.mappings is -1; give/, () => create({ limits: { mappings: -1 } })],
  [
    "EINVAL",
    /cannot be read \(see cause\)/,
    () =>
      create({
        get ramBytes(): number {
          throw new Error("no");
        },
      }),
  ],
  // Arguments of operations, blocking and as promises.
  ["EINVAL", /lengthBytes is undefined; give/, () => space.mmapSync(undefined as Any)],
  ["EINVAL", /lengthBytes is "4096"; give/, () => space.mmapSync("4096" as Any)],
  ["EINVAL", /lengthBytes is -1; give/, async () => await space.mmap(-1)],
  ["EINVAL", /lengthBytes is 4096n; give/, async () => await space.mmap(4096n as Any)],
  [
    "EINVAL",
    /fixed is true; give "replace" or "noreplace"/,
    () => space.mmapSync(PAGE, { address: p, fixed: true } as Any),
  ],
  [
    "EINVAL",
    /protection is "exec"; give "none", "read" or "read-write"/,
    () => space.mprotectSync(p, PAGE, "exec" as Any),
  ],
  ["EINVAL", /the address is "0"; give/, () => space.munmapSync("0" as Any, PAGE)],
  ["EINVAL", /the address is 1; give .* multiple of 4096/, async () => await space.munmap(1, PAGE)],
  ["EINVAL", /lengthBytes is 0; give/, async () => await space.munmap(p, 0)],
  ["EINVAL", /lengthBytes is an object; give/, () => space.msyncSync(p, {} as Any)],
  [
    "EINVAL",
    /the advice is "soon"; give "normal", /,
    () => space.madviseSync(p, PAGE, "soon" as Any),
  ],
  [
    "EINVAL",
    /newLengthBytes is undefined; give/,
    () => space.mremapSync(p, PAGE, undefined as Any),
  ],
  [
    "EINVAL",
    /the bytes is an object; give a Uint8Array/,
    async () => await space.read(p, [] as Any),
  ],
  [
    "EINVAL",
    /the mode is undefined; give "read" or "write"/,
    () => space.viewSync(p, PAGE, undefined as Any),
  ],
  ["EINVAL", /array type is a function; give a typed array/, () => view.as(String as Any)],
  ["EINVAL", /array type is undefined; give a typed array/, () => view.as(undefined as Any)],
  ["EINVAL", /the port is undefined; give a MessagePort/, () => space.connect(undefined as Any)],
  ["EINVAL", /use is undefined; give a function/, () => space.section(undefined as Any)],
  ["EINVAL", /is a promise/, () => AddressSpace.attachSync(Promise.resolve() as Any)],
  // Single loads and stores.
  ["EINVAL", /4 bytes at 1n/, () => space.u32.load(1n as Any)],
  ["EINVAL", /4 bytes at "65536"/, () => space.u32.load("65536" as Any)],
  ["EINVAL", /8 bytes at undefined/, () => space.f64.load(undefined as Any)],
  ["EINVAL", /4 bytes at 0x[0-9a-f]+: .* multiple of 4; align it/, () => space.u32.load(p + 1)],
  ["EINVAL", /store "abc": it is not a number/, () => space.u32.store(p, "abc" as Any)],
  ["EINVAL", /store 1n: it is not a number/, () => space.f32.store(p, 1n as Any)],
  ["EINVAL", /store 1: it is not a bigint/, () => space.u64.store(p, 1 as Any)],
  ["EINVAL", /store undefined: it is not a number/, () => space.u32.atomicAdd(p, undefined as Any)],
  ["EINVAL", /store -1 as an address/, () => space.ptr.store(p, -1)],
  ["EINVAL", /store -1 as an address/, () => space.ptr.atomicStore(p, -1)],
  ["EFAULT", /nothing is mapped there; map it with mmap/, () => space.u8.load(64)],
  ["EFAULT", /nothing is mapped there; map it with mmap/, () => space.u32.store(64, 1)],
  ["EFAULT", /nothing is mapped there; map it with mmap/, () => space.ptr.atomicLoad(64)],
  ["EFAULT", /nothing is mapped there; map it with mmap/, () => space.i64.atomicAdd(64, 1n)],
  ["EFAULT", /beyond the highest address; check the address/, () => space.u32.load(2 ** 50)],
  [
    "EFAULT",
    /nothing is mapped there; map it/,
    async () => await space.read(64, new Uint8Array(1)),
  ],
  // What has ended.
  ["EBADF", /has been disposed of; create another/, () => gone.mmapSync(PAGE)],
  ["EBADF", /has been disposed of; create another/, async () => await gone.mmap(PAGE)],
  ["EBADF", /has been disposed of; create another/, () => gone.handle],
  ["EBADF", /has been disposed of; create another/, () => gone.u32.load(p)],
  // Devices.
  ["EINVAL", /the options are undefined; give an object$/, () => makeDevice(space)],
  [
    "EINVAL",
    /the space is a promise \(await it first\)/,
    () => makeDevice(AddressSpace.create(), { memoryBytes: PAGE }),
  ],
  ["EINVAL", /the space is undefined; give what AddressSpace.create/, () => makeDevice()],
  ["EINVAL", /memoryBytes is undefined; give/, () => makeDevice(space, {})],
  [
    "EINVAL",
    /memoryBytes is 1; give .* multiple of 4096/,
    () => makeDevice(space, { memoryBytes: 1 }),
  ],
  [
    "EINVAL",
    /threads is 33; give a whole number from 1 to 32/,
    () => makeDevice(space, { memoryBytes: PAGE, threads: 33 }),
  ],
  [
    "EINVAL",
    /memory is "gpu"; give "remote", /,
    () => makeDevice(space, { memoryBytes: PAGE, memory: "gpu" }),
  ],
  ["EINVAL", /name is 1; give a string/, () => makeDevice(space, { memoryBytes: PAGE, name: 1 })],
  ["EINVAL", /the options are undefined/, () => kernel()],
  [
    "EINVAL",
    /module is "\.\/k\.mjs"; give a URL/,
    () => kernel({ module: "./k.mjs", exportName: "k" }),
  ],
  ["EINVAL", /exportName is undefined; give a string/, () => kernel({ module })],
  [
    "EINVAL",
    /mayReplay is "no"; give true or false/,
    () => kernel({ module, exportName: "k", mayReplay: "no" }),
  ],
  [
    "EINVAL",
    /items is "many"; give/,
    async () => await device.kernel({ module, exportName: "k" }).dispatch("many" as Any),
  ],
  [
    "EINVAL",
    /the options are null; give/,
    async () => await device.kernel({ module, exportName: "k" }).dispatch(1, null as Any),
  ],
  [
    "EINVAL",
    /args is 7; give an array of numbers/,
    async () => await device.kernel({ module, exportName: "k" }).dispatch(1, { args: 7 } as Any),
  ],
  [
    "EINVAL",
    /args is an object; give an array of numbers/,
    async () => await device.kernel({ module, exportName: "k" }).dispatch(1, { args: [1n] } as Any),
  ],
  [
    "EINVAL",
    /exports nothing of that name; check the name/,
    async () => await device.kernel({ module, exportName: "k" }).dispatch(1),
  ],
  [
    "EINVAL",
    /bytes is undefined; give a Uint8Array/,
    async () => await device.read(p, undefined as Any),
  ],
  ["EINVAL", /address is -1; give/, async () => await device.write(-1, new Uint8Array(1))],
  ["EINVAL", /the device has no pages of its own/, async () => await device.migrate(p, PAGE)],
  [
    "EFAULT",
    /nothing readable is mapped there/,
    async () => await device.read(64, new Uint8Array(1)),
  ],
];

/** Of the error's stack, without the message. */
function firstLine({ stack = "" }: Error): string {
  return stack.split("\n").find((line) => /^\s+at /.test(line)) ?? "";
}

for (const [code, message, call] of ROWS) {
  test(`${code}: ${message.source}`, async () => {
    const error = await failureOf(call);
    assert.ok(error instanceof HmmError, `${String(error)} is no HmmError`);
    assert.match(error.message, message);
    assert.equal(error.code, code);
    assert.match(firstLine(error), /wrong-usage\.test\./);
  });
}

test("inside a section the first line is that of the load, not of the section", () => {
  function inner(): void {
    space.section(({ u32 }) => u32.load(64));
  }
  assert.throws(inner, (error: Error) => /wrong-usage\.test\./.test(firstLine(error)));
});

test("a kernel that throws: its line first, then the dispatch", async () => {
  const kernels = [
    device.kernel({ module, exportName: "thrower" }),
    device.kernel({ module, exportName: "stray" }),
  ];
  for (const one of kernels) {
    const failure = await failureOf(async () => await one.dispatch(100, { args: [64] }));
    assert.ok(failure instanceof KernelFailure || failure instanceof DeviceFault);
    assert.match(
      failure.stack ?? "",
      /^[^\n]*\n\s+at [^\n]*kernels\.[^\n]*\n[^]*wrong-usage\.test\./,
    );
  }
});

async function failureOf(call: () => unknown): Promise<unknown> {
  try {
    await call();
    return undefined;
  } catch (error) {
    return error;
  }
}

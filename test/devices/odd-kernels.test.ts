/**
 * @module Kernels that are no kernels, and modules that cannot be loaded: each is refused in words
 * that say what is wrong, and the device runs the next one as if nothing had been. Also devices for
 * which there is no thread, and devices whose address space is gone.
 */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { DeviceFault, KernelFailure } from "../../src/devices/device-fault.ts";
import { importModule } from "../../src/devices/software/kernel-module.ts";
import { SoftwareDevice } from "../../src/devices/software/software-device.ts";
import { type AddressSpace, HmmError } from "../../src/index.ts";
import { listAgents } from "../../src/sync/runners/agents.ts";
import { PAGE, PlayedDevice, accountingOf, makeSpace, withSpace } from "./harness.ts";
import { inside } from "../inside.ts";

const kernels = new URL("./kernels.js", import.meta.url);

function moduleOf(source: string): URL {
  return new URL(`data:text/javascript,${encodeURIComponent(source)}`);
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

describe("on a device with two threads", () => {
  let space: AddressSpace;
  let device: SoftwareDevice;
  let at: number;

  before(async () => {
    space = makeSpace();
    at = space.mmapSync(PAGE);
    device = await SoftwareDevice.create(space, { memoryBytes: 8 * PAGE, threads: 2 });
  });
  after(async () => {
    await device[Symbol.asyncDispose]();
    space.disposeSync();
  });

  const dispatch = (name: string, module: URL = kernels, items = 3): Promise<unknown> =>
    device.kernel({ module, exportName: name }).dispatch(items, { args: [at] });

  /** Whatever happened before: the device works. */
  async function checkDevice(): Promise<void> {
    space.u32.store(at, 0);
    const { items } = await device
      .kernel({ module: kernels, exportName: "tally" })
      .dispatch(50, { args: [at, 1] });
    assert.equal(items, 50);
    assert.equal(space.u32.load(at), 50);
  }

  for (const [name, says] of [
    [
      "asynchronous",
      /^Cannot run the kernel: it is an async function, .+; make it a plain function/,
    ],
    [
      "generator",
      /^Cannot run the kernel: it is a generator function, .+; make it a plain function/,
    ],
    [
      "asyncGenerator",
      /^Cannot run the kernel: it is an async generator function, .+; make it a plain function/,
    ],
  ] as const) {
    test(`${name} is refused before any of it runs`, async () => {
      space.u32.store(at, 7);
      const failure = await failureOf(dispatch(name));
      assert.ok(failure instanceof KernelFailure);
      assert.deepEqual([failure.code, failure.item], ["EINVAL", undefined]);
      assert.match(failure.message, says);
      assert.equal(space.u32.load(at), 7, "nothing was stored");
      await checkDevice();
    });
  }

  for (const [name, says] of [
    ["promising", /the kernel returned a promise in work item \d, .+; make it a plain function/],
    [
      "promisingFault",
      /the kernel returned a promise in work item \d, .+; make it a plain function/,
    ],
    ["iterating", /the kernel returned an iterator in work item \d, .+; make it a plain function/],
  ] as const) {
    test(`${name} is refused when it has returned; what it does later has no effect, and kills nothing`, async () => {
      const failure = await failureOf(dispatch(name));
      assert.ok(failure instanceof KernelFailure);
      assert.equal(failure.code, "EINVAL");
      assert.ok(failure.item !== undefined && failure.item < 3);
      assert.match(failure.message, says);
      space.u32.store(at, 7);
      // Both threads turn their event loops until the promises have been settled: a message goes
      // there and back meanwhile.
      for (let i = 0; i < 20; i++) await dispatch("tally", kernels, 0);
      await new Promise((resolve) => void setTimeout(resolve, 20));
      assert.equal(space.u32.load(at), 7, "the store after its end was not made");
      await checkDevice();
    });
  }

  test("twin: what a plain function returns is nobody's concern", async () => {
    space.u32.store(at, 0);
    await dispatch("returning", kernels, 100);
    assert.equal(space.u32.load(at), 100);
  });

  test("a promise that a kernel leaves behind fails the next dispatch, and kills nothing", async () => {
    await dispatch("leaving");
    let failure: unknown;
    for (let i = 0; i < 500 && failure === undefined; i++) {
      await new Promise((resolve) => void setTimeout(resolve, 2));
      failure = await dispatch("returning").then(
        () => undefined,
        (error: unknown) => error,
      );
    }
    assert.ok(failure instanceof KernelFailure, String(failure));
    assert.match(failure.message, /left behind was rejected: .*no work item is running/);
    // The other thread may have such a promise to tell of as well.
    await dispatch("returning", kernels, 1).catch(() => {});
    await checkDevice();
  });

  test("a kernel that throws what cannot be shown", async () => {
    const failure = await failureOf(dispatch("bareThrower"));
    assert.ok(failure instanceof KernelFailure);
    assert.equal(failure.code, "ECANCELED");
    assert.match(failure.message, /the kernel threw in work item \d: an object$/);
    await checkDevice();
  });

  for (const [what, source, code, says] of [
    [
      "does not parse",
      "export function (",
      "EINVAL",
      /does not parse: Function statements require a function name/,
    ],
    [
      "imports what another does not export",
      'import { nothing } from "data:text/javascript,export%20const%20a%3D1";',
      "EINVAL",
      /does not parse: .*does not provide an export named 'nothing' \(.+:1\); mend it there$/,
    ],
    [
      "imports what does not parse",
      'import "data:text/javascript,let%20a%3B%20let%20a";',
      "EINVAL",
      /it, or a module that it imports, does not parse: Identifier 'a' has already been declared; mend/,
    ],
    [
      "throws",
      'throw new RangeError("at import");',
      "EINVAL",
      /importing it threw RangeError: at import; /,
    ],
    ["throws null", "throw null;", "EINVAL", /importing it threw null; /],
    [
      "throws what cannot be shown",
      "throw Object.create(null);",
      "EINVAL",
      /importing it threw an object; /,
    ],
    [
      "throws a SyntaxError of its own making",
      "JSON.parse('{');",
      "EINVAL",
      /importing it threw SyntaxError: .*JSON.*; a kernel's module has to load/,
    ],
    [
      "imports a package that is not there",
      'import "no-such-package-here";',
      "EINVAL",
      /importing it threw TypeError: .*no-such-package-here/,
    ],
    [
      "exports nothing",
      "",
      "EINVAL",
      /exports nothing of that name; it exports no function; export the kernel/,
    ],
    [
      "exports others",
      "export function f() {} export const g = 1",
      "EINVAL",
      /check the name; it exports the functions f$/,
    ],
    [
      "exports a number",
      "export const kernel = 1;",
      "EINVAL",
      /exports 1 under that name, and no function; /,
    ],
  ] as const) {
    test(`a module that ${what}`, async () => {
      const failure = await failureOf(dispatch("kernel", moduleOf(source)));
      assert.equal(failure.code, code, failure.message);
      assert.match(failure.message, says);
      await checkDevice();
    });
  }

  test("a module that is not there, or imports what is not there: check the URL", async () => {
    const missing = "./nowhere.js";
    const nowhere = new URL(missing, import.meta.url);
    const failure = await failureOf(dispatch("kernel", nowhere));
    assert.equal(failure.code, "ENOENT");
    assert.match(failure.message, /nowhere\.js: Cannot find module .+; check its URL$/);
    const importing = moduleOf(`import ${JSON.stringify(nowhere.href)};`);
    const indirect = await failureOf(dispatch("kernel", importing));
    assert.equal(indirect.code, "ENOENT");
    assert.match(
      indirect.message,
      /it imports what is not there: Cannot find module .+; check its imports$/,
    );
    await checkDevice();
  });
});

test("a module that is not there, and one that does not parse, as Firefox and Chromium tell", async () => {
  const { importFailure } = await import("../../src/devices/software/kernel-module.ts");
  for (const message of [
    "Failed to fetch dynamically imported module: http://x/k.js",
    "error loading dynamically imported module: http://x/k.js",
  ]) {
    const error = Object.assign(new TypeError(message), { stack: `TypeError: ${message}` });
    const failure = importFailure("http://x/k.js", error);
    assert.equal(failure.code, "ENOENT");
    assert.match(failure.message, /check its URL$/);
  }
  const parse = Object.assign(new SyntaxError("expected expression"), { stack: "" });
  assert.match(
    importFailure("http://x/k.js", parse).message,
    /does not parse: expected expression; mend/,
  );
  const thrown = Object.assign(new TypeError("fetch failed"), {
    stack: "TypeError: fetch failed\n    at http://x/k.js:1:1",
  });
  assert.match(
    importFailure("http://x/k.js", thrown).message,
    /importing it threw TypeError: fetch failed/,
  );
});

test("memory outside of a work item: refused, also what the thread has translated already", () =>
  withSpace((space) => {
    const data = space.mmapSync(2 * PAGE);
    space.u32.store(data, 5);
    const device = new PlayedDevice(space, { frames: 4 });
    const { memory } = device.thread;
    const outside = { code: "EINVAL", message: /no work item is running/ };
    assert.throws(() => memory.u32.load(data), outside);
    assert.equal(device.load(data), 5);
    assert.throws(() => memory.u32.store(data, 1), outside);
    assert.throws(() => memory.u32.atomicAdd(data, 1), outside);
    assert.throws(() => memory.u32.load(data + PAGE), outside);
    assert.equal(device.load(data), 5, "nothing was stored");
    device.close();
    assert.throws(() => memory.u32.load(data), outside, "not even what was translated before");
    assert.throws(() => memory.u32.atomicLoad(data), outside);
  }));

describe("a device without place for its threads", () => {
  test("is refused before a Worker is started, and leaves nothing behind", async () => {
    const space = makeSpace();
    const full = await SoftwareDevice.create(space, { memoryBytes: PAGE, threads: 32 });
    const accounting = accountingOf(space);
    const agents = listAgents(inside(space).machine.memory).length;
    assert.equal(agents, 33);
    let started = 0;
    const count = (): void => void started++;
    process.on("worker", count);
    const failure = await failureOf(
      SoftwareDevice.create(space, { memoryBytes: PAGE, threads: 32 }),
    );
    assert.equal(failure.code, "EMFILE");
    assert.match(
      failure.message,
      /it wants 32 threads, and the machine has room for 31 more \(64 in all\); give it fewer/,
    );
    assert.equal(started, 0);
    assert.equal(accountingOf(space), accounting);
    assert.equal(listAgents(inside(space).machine.memory).length, agents);
    // Twin: one that fits.
    const small = await SoftwareDevice.create(space, { memoryBytes: PAGE, threads: 1 });
    process.off("worker", count);
    assert.equal(started, 1);
    await small[Symbol.asyncDispose]();
    await full[Symbol.asyncDispose]();
    await space.dispose();
  });
});

describe("a device whose address space is gone says so", () => {
  for (const how of ["load", "store", "atomic"] as const) {
    for (const mayReplay of [true, false]) {
      test(`${how}, ${mayReplay ? "given up and run again" : "stalling"}, warm and cold`, async () => {
        const keeper = makeSpace();
        const space = keeper.forkSync();
        const data = space.mmapSync(2 * PAGE);
        const device = new PlayedDevice(space, { frames: 4 });
        device.store(data, 5);
        await space.dispose();
        for (const address of [data, data + PAGE]) {
          const failure = device.tryRun(
            ({ u32 }) => {
              if (how === "load") u32.load(address);
              else if (how === "store") u32.store(address, 1);
              else u32.atomicAdd(address, 1);
            },
            1,
            [],
            mayReplay,
          );
          assert.ok(failure instanceof DeviceFault, String(failure));
          assert.deepEqual([failure.code, failure.address], ["ESRCH", address]);
          assert.match(failure.message, /its address space is gone; keep an AddressSpace object/);
        }
        device.closeOn(keeper);
        await keeper.dispose();
      });
    }
  }
});

test("a module whose export `then` makes another value of its import is refused", async () => {
  const url = moduleOf("export function then(resolve) { resolve(1); }").href;
  const { code, message } = await failureOf(importModule(url));
  assert.equal(code, "EINVAL");
  assert.match(message, /its export `then`/);
});

test("a module that awaits what never settles is given up", async () => {
  const url = moduleOf("await new Promise(() => {}); export const kernel = 1;").href;
  const { code, message } = await failureOf(importModule(url, 50));
  assert.equal(code, "EINVAL");
  assert.match(message, /did not come back in 0.05 s/);
  assert.equal(typeof (await importModule(kernels.href))["tally"], "function");
});

/**
 * @module Devices whose Workers are the program's: kernels that they serve, what the program and
 * its Worker say to each other beside that, and a Worker that does not start.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { AddressSpace, HmmError, SoftwareDevice } from "../../src/index.ts";

const PAGE = 4096;
const servingUrl = new URL("./serving-worker.js", import.meta.url);

interface Served {
  readonly space: AddressSpace;
  readonly device: SoftwareDevice;
  readonly workers: readonly Worker[];
  readonly address: number;
}

async function serve(threads: number, onWorker = (_worker: Worker): void => {}): Promise<Served> {
  const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
  const workers: Worker[] = [];
  const worker = (): Worker => {
    const started = new Worker(servingUrl);
    workers.push(started);
    onWorker(started);
    return started;
  };
  const device = await SoftwareDevice.create(space, { memoryBytes: 4 * PAGE, threads, worker });
  return { space, device, workers, address: await space.mmap(PAGE) };
}

async function end({ device, space }: Served): Promise<void> {
  await device[Symbol.asyncDispose]();
  await space.dispose();
}

/** Why a device with such Workers is refused. */
async function refusal(worker: unknown): Promise<HmmError> {
  const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
  try {
    await SoftwareDevice.create(space, {
      memoryBytes: PAGE,
      threads: 2,
      // Whatever a program in JavaScript gives.
      worker: worker as () => Worker,
    });
  } catch (error) {
    assert.ok(error instanceof HmmError, String(error));
    return error;
  } finally {
    await space.dispose();
  }
  return assert.fail("the device was made");
}

test("kernels that the program's Workers serve run on each of the device's threads", async () => {
  const served = await serve(3);
  const { device, space, workers, address } = served;
  assert.equal(workers.length, 3);
  await device.kernel({ exportName: "square" }).dispatch(1000, { args: [address] });
  for (let i = 0; i < 1000; i++) assert.equal(space.u32.load(address + 4 * i), i * i);
  await end(served);
});

test("such a device runs kernels of modules, too", async () => {
  const served = await serve(1);
  const module = new URL("./kernels.js", import.meta.url);
  const kernel = served.device.kernel({ module, exportName: "tally" });
  await kernel.dispatch(7, { args: [served.address, 1] });
  assert.equal(served.space.u32.load(served.address), 7);
  await end(served);
});

test("what is not served is refused, by name", async () => {
  const served = await serve(1);
  const dispatch = (exportName: string): Promise<unknown> =>
    served.device.kernel({ exportName }).dispatch(1);
  const code = "EINVAL";
  const offer = /serves nothing of that name; check the name; it serves the functions square$/;
  await assert.rejects(dispatch("squares"), { code, message: offer });
  await assert.rejects(dispatch("toString"), { code, message: offer });
  await assert.rejects(dispatch("notOne"), { code, message: /serves 42 under that name/ });
  await end(served);
});

test("the program and its Worker may talk beside the device", async () => {
  const said: unknown[] = [];
  const served = await serve(1, (worker) => {
    worker.on("message", (message) => {
      if (typeof message === "string") said.push(message);
    });
    worker.postMessage("before it serves");
  });
  const [worker] = served.workers;
  assert.ok(worker !== undefined);
  worker.ref();
  worker.postMessage({ kind: "leave" });
  worker.postMessage("are you there?");
  while (!said.includes("I am here")) await once(worker, "message");
  assert.deepEqual(said, [
    "I load",
    "Error: Cannot serve a device: this Worker does already; call it once",
    "I am here",
  ]);
  await served.device.kernel({ exportName: "square" }).dispatch(1, { args: [served.address] });
  await end(served);
});

test("a device without Workers of the program's needs a kernel's module", async () => {
  const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
  const device = await SoftwareDevice.create(space, { memoryBytes: PAGE });
  const message = /`module` is missing; give its URL, or make the device with `worker`/;
  assert.throws(() => device.kernel({ exportName: "square" }), { code: "EINVAL", message });
  await device[Symbol.asyncDispose]();
  await space.dispose();
});

test("what is no Worker is refused, and so is what makes none", async () => {
  const nothing = await refusal(() => ({}));
  assert.equal(nothing.code, "EINVAL");
  assert.match(nothing.message, /`worker` returned an object; return a Worker that calls serve/);
  const broken = (): never => {
    throw new TypeError("thrown by the program");
  };
  await assert.rejects(refusal(broken), /thrown by the program/);
  const module = (await refusal("./device.js")).message;
  assert.match(module, /worker is "\.\/device\.js"; give a function/);
});

test("of a Worker that does not start, the error has the module and what the host said", async () => {
  const missing = "./not-there.js";
  const absent = await refusal(() => new Worker(new URL(missing, import.meta.url)));
  assert.equal(absent.code, "ENODEV");
  assert.match(
    absent.message,
    /did not start: the host said: Cannot find module '.*not-there\.js'/,
  );
  const throws = new URL("data:text/javascript,throw new Error('thrown at once')");
  assert.match((await refusal(() => new Worker(throws))).message, /said: thrown at once; check/);
  const ends = new URL("data:text/javascript,0");
  assert.match(
    (await refusal(() => new Worker(ends))).message,
    /its Worker did not start: the host said: it has ended; check that its module loads, and calls serveDevice of "hmm-ts\/worker"$/,
  );
});

test("a Worker that lives and never serves is given up", async (t) => {
  const silent = new URL("./silent-worker.js", import.meta.url);
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let workers = 0;
  const refused = refusal(() => {
    const worker = new Worker(silent);
    worker.once("online", () => {
      workers++;
      if (workers === 2) t.mock.timers.tick(60_000);
    });
    return worker;
  });
  const { message } = await refused;
  assert.match(message, /did not start: the host said: nothing in 60 seconds; check that its mod/);
});

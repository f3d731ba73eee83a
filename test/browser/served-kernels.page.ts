/**
 * @module A device in a page whose Workers are the program's, and what the page learns of a Worker
 * that does not start.
 */

import { AddressSpace, type HostWorker, SoftwareDevice } from "../../src/index.ts";
import { check, checkEqual, pageTest } from "./page-cases.ts";
import { errorOf } from "./peers.ts";

const PAGE = 4096;

function startModule(url: URL): HostWorker {
  if (Worker === undefined) throw new Error("no Worker here");
  return new Worker(url, { type: "module" });
}

/** Why a device with Workers of that module is refused. */
async function refusal(url: URL): Promise<string> {
  const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
  const worker = (): HostWorker => startModule(url);
  const error = await errorOf(() => SoftwareDevice.create(space, { memoryBytes: PAGE, worker }));
  checkEqual(error.code, "ENODEV", "the code");
  await space.dispose();
  return error.message;
}

pageTest("kernels that the page's own Workers serve", async () => {
  const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
  const url = new URL("./served-worker.js", import.meta.url);
  const worker = (): HostWorker => startModule(url);
  const options = { memoryBytes: 4 * PAGE, threads: 2, worker };
  const device = await SoftwareDevice.create(space, options);
  checkEqual(typeof Worker, "function", "the page's Worker class");
  const p = await space.mmap(PAGE);
  await device.kernel({ exportName: "square" }).dispatch(100, { args: [p] });
  checkEqual(space.u32.load(p + 4 * 99), 99 * 99, "the last square");
  await device[Symbol.asyncDispose]();
  await space.dispose();
});

pageTest("of a Worker that does not start, the error has the URL and what is known", async () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    [
      "/modules.json",
      /Worker http\S+\/modules\.json did not .* with application\/json, which is no Ja/,
    ],
    ["data:text/javascript,import '/x.js'", /Worker data:\S+ .*did not start: .*that it imports/],
    ["data:text/javascript,throw Error('at once')", /did not start: the host said: .*at once/],
  ];
  for (const [url, wanted] of cases) {
    const message = await refusal(new URL(url, import.meta.url));
    check(wanted.test(message), message);
  }
});

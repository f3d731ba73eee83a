// Without a bundler a kernel may be named by its module: the library starts the device's Workers.
import { AddressSpace, SoftwareDevice } from "hmm-ts";

async function main() {
  const space = await AddressSpace.create({ ramBytes: 2 ** 22 });
  const numbers = await space.mmap(4096);
  const device = await SoftwareDevice.create(space, { memoryBytes: 2 ** 20 });
  const module = new URL("./square-kernel.js", import.meta.url);
  await device.kernel({ module, exportName: "square" }).dispatch(10, { args: [numbers] });
  const last = space.u32.load(numbers + 4 * 9);
  await device[Symbol.asyncDispose]();
  await space.dispose();
  return { last };
}

main().then(
  (outcome) => (globalThis.outcome = outcome),
  (error) => (globalThis.outcome = String(error)),
);

/**
 * @module Pages are copied and cleared right where a Content-Security-Policy allows no WebAssembly
 * to be compiled (memory/frames/bulk-memory.ts): small and huge ones, to a fork, and to the memory
 * of a device and back.
 */

import { AddressSpace, SoftwareDevice } from "../../src/index.ts";
import { check, checkEqual, pageTest } from "./page-cases.ts";
import { mayCompile } from "./web-assembly.ts";

const PAGE = 4096;
const HUGE = 2 ** 21;
const RAM_BYTES = 2 ** 25;

/** The value of a page's word: differs from page to page, and from word to word. */
function valueOf(page: number, word: number): number {
  return page * 1024 + word + 1;
}

function fill(space: AddressSpace, start: number, pages: number): void {
  for (let page = 0; page < pages; page++)
    for (const word of [0, 511, 1023])
      space.u32.store(start + page * PAGE + 4 * word, valueOf(page, word));
}

function checkFilled(space: AddressSpace, start: number, pages: number, what: string): void {
  for (let page = 0; page < pages; page++) {
    for (const word of [0, 511, 1023]) {
      const is = space.u32.load(start + page * PAGE + 4 * word);
      checkEqual(is, valueOf(page, word), `${what}, page ${page}, word ${word}`);
    }
    checkEqual(space.u32.load(start + page * PAGE + 40), 0, `${what}, page ${page}, not stored to`);
  }
}

pageTest("the policy forbids WebAssembly", () => {
  checkEqual(mayCompile(), false, "may compile");
});

for (const huge of [false, true])
  pageTest(`a fork copies ${huge ? "huge" : "small"} pages`, async () => {
    const space = await AddressSpace.create({ ramBytes: RAM_BYTES });
    const bytes = huge ? 2 * HUGE : 64 * PAGE;
    const pages = bytes / PAGE;
    const start = await space.mmap(bytes, { huge });
    fill(space, start, pages);
    const child = await space.fork();
    for (let page = 0; page < pages; page++) child.u32.store(start + page * PAGE + 4, 9);
    checkFilled(space, start, pages, "the parent");
    checkFilled(child, start, pages, "the child");
    check(space.u32.load(start + 4) === 0, "the parent has nothing of what the child stores");
    await child.dispose();
    await space.munmap(start, bytes);
    const again = await space.mmap(bytes, { huge });
    for (let page = 0; page < pages; page++)
      checkEqual(space.u32.load(again + page * PAGE), 0, `fresh page ${page}`);
    await space.dispose();
  });

for (const memory of ["private", "coherent"] as const)
  pageTest(`pages move to ${memory} memory of a device and back`, async () => {
    const space = await AddressSpace.create({ ramBytes: RAM_BYTES });
    const pages = HUGE / PAGE;
    const start = await space.mmap(HUGE);
    fill(space, start, pages);
    const device = await SoftwareDevice.create(space, { memoryBytes: 2 * HUGE, memory });
    await device.migrate(start, HUGE);
    if (memory === "private") checkFilled(space, start, pages, "touched");
    else await device.migrateBack(start, HUGE);
    checkFilled(space, start, pages, "back");
    await device[Symbol.asyncDispose]();
    await space.dispose();
  });

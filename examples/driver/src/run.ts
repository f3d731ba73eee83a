/**
 * The card on a real address space, with three threads: this one reads through the card, a second
 * one plays the card, and a third one gives the pages up and stores into them anew, all the time.
 */

import { AddressSpace } from "hmm-ts";
import { DriverThread, EBUSY, EFAULT, PAGE_BYTES, errnoName, spawnWorker } from "hmm-ts/driver";
import { closeCard, openCard, readCard, writeCard } from "./card.js";
import type { CardStart } from "./card-worker.js";
import type { MapperStart } from "./mapper-worker.js";
import { pageOfTag, roundOfTag } from "./tags.js";

const pages = 8;
const rounds = 100;

const space = await AddressSpace.create({ ramBytes: 2 ** 22 });
const address = await space.mmap(pages * PAGE_BYTES);

// This thread, with a card on the space; then the Worker that plays the card.
const driver = DriverThread.open(space);
const mirror = await driver.runOnSpace(space, (mm) => openCard(driver.machine, mm));
if (typeof mirror === "number") throw new Error(`no card: ${errnoName(mirror)}`);
const cardStart: CardStart = { machine: driver.handle, at: mirror.at };
const card = spawnWorker(new URL("./card-worker.js", import.meta.url), cardStart);

// What the CPU stores, the card reads, and the other way round.
space.u32.store(address, 42);
const bytes = new Uint8Array(4);
const value = new DataView(bytes.buffer);
console.log(
  errnoName(await driver.run(readCard(mirror, address, bytes))),
  value.getUint32(0, true),
);
value.setUint32(0, 43, true);
console.log(
  errnoName(await driver.run(writeCard(mirror, address, bytes))),
  space.u32.load(address),
);

// A third thread changes the mappings. No read may see a page as it was before it began.
const progress = new SharedArrayBuffer(4);
const completed = new Int32Array(progress);
const mapperStart: MapperStart = { handle: space.handle, address, pages, rounds, progress };
const mapper = spawnWorker(new URL("./mapper-worker.js", import.meta.url), mapperStart);
let reads = 0;
mapper.onError((error) => {
  throw error;
});
while (Atomics.load(completed, 0) < rounds) {
  const i = reads % pages;
  const begun = Atomics.load(completed, 0);
  const errno = await driver.run(readCard(mirror, address + i * PAGE_BYTES, bytes));
  reads++;
  // unmapped at the moment, or changed all the time
  if (errno === EFAULT || errno === EBUSY) continue;
  if (errno !== 0) throw new Error(`the card answered ${errnoName(errno)}`);
  const tag = value.getUint32(0, true);
  const isFresh = tag === 0 || (i === 0 && tag === 43);
  if (isFresh && begun === 0) continue;
  if (tag !== 0 && (pageOfTag(tag) !== i || roundOfTag(tag) < begun))
    throw new Error(`page ${i} reads ${tag.toString(16)} after round ${begun}`);
}
console.log(reads > 0 ? "the card has seen nothing that was gone" : "the card has read nothing");

// The card dies: its Worker is ended where it is. Who waits for a job is told.
await card.terminate();
console.log(errnoName(await driver.run(readCard(mirror, address, bytes)))); // ENODEV

// The space dies before the card is closed: its call-back `release` has been called then.
await space.dispose();
await driver.run(closeCard(mirror));
driver.close();

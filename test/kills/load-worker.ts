/**
 * @module A thread of `npm run kills`: the victim, which plays one load for ever, or the bystander,
 * which must not notice.
 */

import { AddressSpace, SoftwareDevice } from "../../src/index.ts";
import { enterWorker } from "../../src/host/worker-scope.ts";
import {
  BYSTANDER_ADDS,
  BYSTANDER_AREA,
  COUNTER,
  IS_PAUSED,
  type LoadName,
  type LoadRequest,
  PAGE,
  PAUSE,
  RESIDENT,
  RESIDENT_PAGES,
  VICTIM_ADDS,
  VICTIM_AREA,
  VICTIM_ROUNDS,
} from "./loads.ts";

/** One round. */
type Round = (space: AddressSpace, round: number) => void | Promise<void>;

const BIG_PAGES = 256;
const DISCARD_PAGES = 32;
const HUGE_PAGES = 512;
const bytes = new Uint8Array(3 * PAGE);

const SOURCE_PAGES = 48;
const MIXED = ["map", "fork", "views", "discard", "protect", "copies", "touch", "attach"] as const;

function mapped(space: AddressSpace, pages: number): number {
  return space.mmapSync(pages * PAGE, { address: VICTIM_AREA, fixed: "replace" });
}

function stamp(space: AddressSpace, address: number, pages: number): void {
  for (let i = 0; i < pages; i++) space.u32.store(address + i * PAGE, i);
}

const rounds: Record<Exclude<LoadName, "device">, Round> = {
  stores: (space, round) => {
    for (let i = 0; i < 100; i++) space.u32.store(RESIDENT + (i % RESIDENT_PAGES) * PAGE, round);
  },
  copies: (space) => {
    space.readSync(RESIDENT, bytes);
    space.writeSync(RESIDENT + 8 * PAGE + 100, bytes);
  },
  attach: (space) => {
    AddressSpace.attachSync(space.handle).disposeSync();
  },
  computing: (space, round) => {
    let x = round;
    for (let i = 0; i < 20_000; i++) x = Math.imul(x, 48271) + i;
    space.u32.store(RESIDENT, x >>> 0);
  },
  map: (space, round) => {
    const p = space.mmapSync((1 + (round % 8)) * PAGE, { address: VICTIM_AREA, fixed: "replace" });
    space.munmapSync(p, (1 + (round % 8)) * PAGE);
  },
  promises: async (space, round) => {
    const p = await space.mmap(4 * PAGE, { address: VICTIM_AREA, fixed: "replace" });
    await space.write(p, new Uint8Array(2 * PAGE).fill(round));
    const child = await space.fork();
    await child.dispose();
    await space.munmap(p, 4 * PAGE);
  },
  protect: (space, round) => {
    if (round === 0) stamp(space, mapped(space, 16), 16);
    space.mprotectSync(VICTIM_AREA + (round % 12) * PAGE, 4 * PAGE, "read");
    space.mprotectSync(VICTIM_AREA, 16 * PAGE, "read-write");
  },
  mixed: (space, round) => {
    mapped(space, DISCARD_PAGES); // what some of them begin with in their round 0
    stamp(space, VICTIM_AREA, 4);
    return rounds[MIXED[round % MIXED.length]!](space, 1);
  },
  fork: (space, round) => {
    if (round === 0) stamp(space, mapped(space, 16), 16);
    using child = space.forkSync();
    child.u32.store(VICTIM_AREA + (round % 16) * PAGE, round);
    space.u32.store(VICTIM_AREA + ((round + 5) % 16) * PAGE, round);
  },
  touch: (space) => {
    stamp(space, mapped(space, BIG_PAGES), BIG_PAGES);
  },
  views: (space, round) => {
    if (round === 0) stamp(space, mapped(space, 16), 16);
    using view = space.viewSync(VICTIM_AREA, 16 * PAGE, round % 2 === 0 ? "write" : "read");
    if (round % 2 === 0) view.as(Uint32Array)[3] = round;
  },
  discard: (space, round) => {
    if (round === 0) mapped(space, DISCARD_PAGES);
    stamp(space, VICTIM_AREA, DISCARD_PAGES);
    space.madviseSync(VICTIM_AREA, DISCARD_PAGES * PAGE, "dontneed");
  },
  "discard-device": (space, round) => {
    stamp(space, VICTIM_AREA, DISCARD_PAGES);
    space.madviseSync(VICTIM_AREA + (round % 4) * PAGE, 16 * PAGE, "dontneed");
  },
  remap: (space, round) => {
    mapped(space, 16);
    stamp(space, VICTIM_AREA, 16);
    const to = VICTIM_AREA + (32 + (round % 8)) * PAGE;
    space.mremapSync(VICTIM_AREA + 4 * PAGE, 8 * PAGE, 8 * PAGE, { mayMove: true, to });
    space.mremapSync(to, 8 * PAGE, 12 * PAGE, { mayMove: true });
    if (space.u32.load(to) !== 4) throw new Error("a page that moved has lost its contents");
    space.munmapSync(VICTIM_AREA, 64 * PAGE);
  },
  huge: (space, round) => {
    mapped(space, HUGE_PAGES);
    if (round % 2 === 0) space.madviseSync(VICTIM_AREA, HUGE_PAGES * PAGE, "hugepage");
    stamp(space, VICTIM_AREA, 4);
    if (round % 2 === 1) space.madviseSync(VICTIM_AREA, HUGE_PAGES * PAGE, "collapse");
    const to = VICTIM_AREA + (HUGE_PAGES + (round % 3)) * PAGE;
    space.mremapSync(VICTIM_AREA, HUGE_PAGES * PAGE, HUGE_PAGES * PAGE, { mayMove: true, to });
    space.munmapSync(to, HUGE_PAGES * PAGE);
  },
  source: (space, round) => {
    const lengthBytes = SOURCE_PAGES * PAGE;
    const source = { lengthBytes, read: () => {}, write: () => {} };
    const options = { address: VICTIM_AREA, fixed: "replace", source, shared: true } as const;
    space.mmapSync(lengthBytes, options);
    stamp(space, VICTIM_AREA + (round % 8) * PAGE, SOURCE_PAGES / 2);
    space.msyncSync(VICTIM_AREA, lengthBytes);
    space.madviseSync(VICTIM_AREA, lengthBytes, "pageout");
    space.read(VICTIM_AREA, bytes).catch(() => {});
    if (round % 2 === 0) space.munmapSync(VICTIM_AREA, lengthBytes);
  },
};

/** Adds to the common counter, and counts that. */
function addOne(space: AddressSpace, control: Int32Array, count: number): void {
  space.u32.atomicAdd(COUNTER, 1);
  Atomics.add(control, count, 1);
}

async function playVictim(space: AddressSpace, { load, control }: LoadRequest): Promise<never> {
  if (load === "bystander") throw new Error("no load of a victim");
  const round = load === "device" ? await deviceRound(space) : rounds[load];
  for (let i = 0; ; i++) {
    addOne(space, control, VICTIM_ADDS);
    const wait = round(space, i);
    if (wait !== undefined) await wait;
    Atomics.store(control, VICTIM_ROUNDS, i + 1);
  }
}

async function deviceRound(space: AddressSpace): Promise<Round> {
  const device = await SoftwareDevice.create(space, { memoryBytes: 8 * PAGE, threads: 1 });
  const kernel = device.kernel({
    module: new URL("./sum-kernel.js", import.meta.url),
    exportName: "sum",
  });
  stamp(space, mapped(space, 2), 2);
  return async () => {
    await kernel.dispatch(16, { args: [RESIDENT, VICTIM_AREA, RESIDENT_PAGES] });
  };
}

/** Maps, touches, compares and unmaps pages of its own, and rests when it is asked to. */
function playBystander(space: AddressSpace, control: Int32Array): never {
  for (let round = 0; ; round++) {
    addOne(space, control, BYSTANDER_ADDS);
    const pages = 1 + (round % 4);
    const p = space.mmapSync(pages * PAGE, { address: BYSTANDER_AREA, fixed: "replace" });
    for (let i = 0; i < pages; i++) space.u32.store(p + i * PAGE, round + i);
    for (let i = 0; i < pages; i++) {
      const found = space.u32.load(p + i * PAGE);
      if (found !== round + i) throw new Error(`found ${found} where ${round + i} was stored`);
    }
    space.munmapSync(p, pages * PAGE);
    Atomics.wait(control, PAUSE, 0, 1); // leaves the processor to the victim
    if (Atomics.load(control, PAUSE) === 0) continue;
    Atomics.store(control, IS_PAUSED, 1);
    Atomics.notify(control, IS_PAUSED);
    Atomics.wait(control, PAUSE, 1);
    Atomics.store(control, IS_PAUSED, 0);
  }
}

const request = (await enterWorker().start) as LoadRequest; // whoever started it sends one
const space = AddressSpace.attachSync(request.handle);
if (request.load === "bystander") playBystander(space, request.control);
else await playVictim(space, request);

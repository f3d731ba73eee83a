/**
 * Random accesses, migrations and calls on a space and its forks, against a model that knows only
 * what each page holds and whether it may be written. RAM and the device's memory are small, so
 * every operation fails now and then: then nothing has changed. And the same with one allocation
 * after the other failing.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { DEVICE_COHERENT, DEVICE_PRIVATE } from "../../src/memory/frames/device-frames.ts";
import { MADV_DONTNEED, doMadvise } from "../../src/mm/calls/madvise.ts";
import { doMprotect } from "../../src/mm/calls/mprotect.ts";
import { doMremap } from "../../src/mm/calls/mremap.ts";
import { doFork } from "../../src/mm/lifetime/fork.ts";
import { mmput } from "../../src/mm/lifetime/mm.ts";
import { evictDeviceFrame } from "../../src/mm/migrate/device-evict.ts";
import { SELECT_DEVICE, SELECT_SYSTEM, toRam } from "../../src/mm/migrate/migrate-vma.ts";
import { Mm } from "../../src/mm/mm-struct.ts";
import {
  KIND_DEVICE_EXCLUSIVE,
  KIND_DEVICE_PRIVATE,
  NON_PRESENT_WRITE,
  PTE_PRESENT,
  PTE_WRITE,
  ptePfn,
} from "../../src/mm/pte.ts";
import { ViewHold } from "../../src/mm/view/view-hold.ts";
import { pinUserPages, unpinUserPages } from "../../src/mm/view/pin.ts";
import { viewClose, viewOpen } from "../../src/mm/view/view-open.ts";
import { VM_READ } from "../../src/mm/vma/vma.ts";
import { ENOMEM } from "../../src/sync/errno.ts";
import { type Task, doneNumber } from "../../src/sync/tasks/task.ts";

import { PAGE, RW, World } from "./migrate-world.ts";
import { fractionsOf } from "../dice.ts";

const PAGES = 6;
const STEPS = 4000;
const SPACES_MAX = 3;

/** A space, and what it must be. */
interface Space {
  readonly mm: Mm;
  /** First page: mremap moves it. */
  page: number;
  /** The first word of each page. */
  readonly values: number[];
  isWritable: boolean;
}

class Run {
  readonly world: World;
  readonly spaces: Space[] = [];
  readonly #random: () => number;
  #next = 1;
  #moves = 0;
  readonly counts = new Map<string, number>();

  constructor(type: typeof DEVICE_PRIVATE | typeof DEVICE_COHERENT, seed: number) {
    this.world = new World(type, 24, 8);
    this.#random = fractionsOf(seed);
    const page = this.world.map(PAGES);
    const values = Array.from({ length: PAGES }, () => 0);
    this.spaces.push({ mm: this.world.mm, page, values, isWritable: true });
  }

  below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  step(): void {
    const space = this.spaces[this.below(this.spaces.length)];
    assert.ok(space !== undefined);
    const names = Object.keys(this.#operations);
    const name = names[this.below(names.length)] ?? "";
    const isDone = this.#operations[name]?.(space, this.below(PAGES)) ?? false;
    if (isDone) this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }

  /** What every page holds, wherever it is, without touching it. */
  check(): void {
    const { world } = this;
    for (const { mm, page, values } of this.spaces)
      for (let i = 0; i < PAGES; i++) {
        const pte = world.pte(page + i, mm);
        assert.equal(pte === 0 ? 0 : world.data(pte)[0], values[i], `page ${i}`);
      }
  }

  /** By name. True: it was done, and the model with it. */
  readonly #operations: Readonly<Record<string, (space: Space, i: number) => boolean>> = {
    store: ({ mm, page, values, isWritable }, i) => {
      const { world } = this;
      for (;;) {
        const pte = world.pte(page + i, mm);
        if ((pte & (PTE_PRESENT | PTE_WRITE)) === (PTE_PRESENT | PTE_WRITE)) break;
        const answer = world.touch(page + i, true, mm);
        if (answer !== 0) {
          assert.ok(answer === ENOMEM || !isWritable, `a store was refused: ${answer}`);
          return false;
        }
      }
      assert.ok(isWritable, "a store to a page that may not be written");
      values[i] = this.#next++;
      world.data(world.pte(page + i, mm))[0] = values[i];
      return true;
    },
    load: ({ mm, page, values }, i) => {
      const { world } = this;
      while ((world.pte(page + i, mm) & PTE_PRESENT) === 0)
        if (world.touch(page + i, false, mm) !== 0) return false;
      assert.equal(world.data(world.pte(page + i, mm))[0], values[i]);
      return true;
    },
    deviceStore: ({ mm, page, values, isWritable }, i) => {
      const pte = this.world.pte(page + i, mm);
      const kind = this.world.kind(page + i, mm);
      const { basePfn, pages } = this.world.device;
      const place = ptePfn(pte) - basePfn;
      const mayWrite =
        kind === KIND_DEVICE_EXCLUSIVE ||
        (kind === KIND_DEVICE_PRIVATE && (pte & NON_PRESENT_WRITE) !== 0) ||
        // A coherent page, which the CPU reaches, too.
        ((pte & PTE_PRESENT) !== 0 && (pte & PTE_WRITE) !== 0 && place >= 0 && place < pages);
      if (!mayWrite) return false;
      assert.ok(isWritable, "the device may write a page that may not be written");
      values[i] = this.#next++;
      this.world.data(pte)[0] = values[i];
      return true;
    },
    toDevice: ({ mm, page }, i) => {
      const { world } = this;
      world.move(page + i, 1 + this.below(PAGES - i), SELECT_SYSTEM, world.mover(), mm);
      return true;
    },
    toRam: ({ mm, page }, i) => {
      const { world } = this;
      world.move(page + i, 1 + this.below(PAGES - i), SELECT_DEVICE, toRam(world.machine), mm);
      return true;
    },
    exclusive: ({ page, mm }, i) => mm === this.world.mm && this.world.exclusive(page + i, 1) === 0,
    evict: () => {
      const { world } = this;
      const { basePfn, pages } = world.device;
      return world.run(evictDeviceFrame(world.machine, world.device, basePfn + this.below(pages)));
    },
    protect: (space) => {
      const { world } = this;
      const protection = this.below(2) === 0 ? VM_READ : RW;
      const { mm, page } = space;
      const answer = doMprotect(world.machine, mm, page * PAGE, PAGES * PAGE, protection);
      if (world.run(answer) !== 0) return false;
      space.isWritable = protection === RW;
      return true;
    },
    discard: ({ mm, page, values }, i) => {
      const { world } = this;
      world.run(doMadvise(world.machine, mm, (page + i) * PAGE, PAGE, MADV_DONTNEED));
      values[i] = 0;
      return true;
    },
    remap: (space) => {
      const { world } = this;
      const to = (1024 + 512 * (this.#moves++ % 64) + this.below(100)) * PAGE;
      const size = PAGES * PAGE;
      const sizes = { oldLengthBytes: size, newLengthBytes: size, mayMove: true, to };
      const answer = doMremap(world.machine, space.mm, { address: space.page * PAGE, ...sizes });
      if (world.run(answer) !== to) return false;
      space.page = to / PAGE;
      return true;
    },
    view: ({ mm, page, values, isWritable }, i) => {
      const { machine } = this.world;
      const at = this.world.run(viewOpen(machine, mm, page + i, page + i + 1, isWritable));
      if (at < 0) return false;
      const { pfn } = ViewHold.at(machine.memory, at);
      const { i32 } = machine.ram.sections.of(pfn);
      const word = machine.ram.sections.wordIndex(pfn);
      assert.equal(i32[word], values[i], "through a view");
      if (isWritable) i32[word] = values[i] = this.#next++;
      this.world.run(viewClose(machine, at));
      return true;
    },
    pin: ({ mm, page, values, isWritable }, i) => {
      const { machine } = this.world;
      const options = { write: isWritable, longTerm: this.below(2) === 0 };
      const pinned = this.world.run(pinUserPages(machine, mm, page + i, page + i + 1, options));
      if (typeof pinned === "number") {
        assert.equal(pinned, ENOMEM);
        return false;
      }
      const pfn = pinned.pfns[0] ?? 0;
      const { i32 } = machine.ram.sections.of(pfn);
      const word = machine.ram.sections.wordIndex(pfn);
      assert.equal(i32[word], values[i], "through a pin");
      const moved = this.world.toDevice(page + i, 1, mm);
      assert.ok(typeof moved === "number" ? moved === ENOMEM : moved.moved === 0);
      if (isWritable) i32[word] = values[i] = this.#next++;
      this.world.run(unpinUserPages(machine, pinned));
      return true;
    },
    fork: ({ mm, page, values, isWritable }) => {
      if (this.spaces.length === SPACES_MAX) return false;
      const { machine } = this.world;
      const at = this.world.run(doFork(machine, mm));
      if (at < 0) return false;
      const child = Mm.at(machine.memory, at);
      this.spaces.push({ mm: child, page, values: [...values], isWritable });
      return true;
    },
    exit: (space) => {
      const { world } = this;
      if (space.mm === world.mm) return false;
      world.run(mmput(world.machine, space.mm));
      this.spaces.splice(this.spaces.indexOf(space), 1);
      return true;
    },
  };
}

for (const [name, type] of [
  ["private", DEVICE_PRIVATE],
  ["coherent", DEVICE_COHERENT],
] as const) {
  test(`${name}: random operations leave what a model of bytes says, and no frame is lost`, () => {
    const seed = Number(process.env["HMM_SEED"] ?? Date.now() % 2 ** 31);
    console.log(`HMM_SEED=${seed}`);
    const run = new Run(type, seed);
    for (let step = 0; step < STEPS; step++) {
      try {
        run.step();
        run.check();
      } catch (error) {
        const where = `HMM_SEED=${seed}, ${name}, step ${step}`;
        throw new Error(`${where}: ${error instanceof Error ? error.stack : String(error)}`, {
          cause: error,
        });
      }
    }
    for (const operation of [
      "store",
      "deviceStore",
      "toDevice",
      "toRam",
      "fork",
      "exclusive",
      "evict",
      "view",
      "pin",
    ])
      assert.ok((run.counts.get(operation) ?? 0) > 0, `${operation} was never done`);
    run.world.end(...run.spaces.slice(1).map(({ mm }) => mm));
  });

  test(`${name}: whichever allocation fails, the memory is as before, and nothing is lost`, () => {
    const seed = Number(process.env["HMM_SEED"] ?? Date.now() % 2 ** 31);
    console.log(`HMM_SEED=${seed}`);
    const sites = new Set<string>();
    const all = runWithFailure(type, seed, Infinity, sites);
    assert.ok(all > 50, `only ${all} allocations`);
    for (let failing = 1; failing <= all; failing++) {
      try {
        runWithFailure(type, seed, failing, sites);
      } catch (error) {
        const where = `HMM_SEED=${seed}, ${name}, allocation ${failing}`;
        throw new Error(`${where}: ${error instanceof Error ? error.stack : String(error)}`, {
          cause: error,
        });
      }
    }
    // Frames, runs of frames, objects, tables and the device's frames have all failed.
    for (const site of ["allocFrame", "allocRun", "alloc", "allocWords"])
      assert.ok(sites.has(site), `${site} never failed`);
  });
}

const STEPS_OF_FAILURE = 150;

/**
 * Runs random operations, of whose allocations number `failing` fails. Returns how many there were.
 * Notes in `sites` what failed.
 */
function runWithFailure(
  type: typeof DEVICE_PRIVATE | typeof DEVICE_COHERENT,
  seed: number,
  failing: number,
  sites: Set<string>,
): number {
  const run = new Run(type, seed);
  const { heap, ram } = run.world.machine;
  let count = 0;
  const isNext = (site: string): boolean => {
    count++;
    if (count === failing) sites.add(site);
    return count === failing;
  };
  function failingAt(owner: object, site: string): void {
    const original: (...values: unknown[]) => Task<number> = Reflect.get(owner, site).bind(owner);
    const patched = (...values: unknown[]): Task<number> =>
      isNext(site) ? doneNumber(0) : original(...values);
    Object.defineProperty(owner, site, { value: patched, configurable: true });
  }
  for (const site of ["allocFrame", "allocRun"]) failingAt(ram, site);
  for (const site of ["alloc", "allocWords"]) failingAt(heap, site);
  // A fault that cannot have a frame at once goes the longer way, which asks again.
  Object.defineProperty(ram, "allocFrameFast", { value: () => 0, configurable: true });
  for (let step = 0; step < STEPS_OF_FAILURE; step++) {
    run.step();
    run.check();
  }
  for (const [owner, names] of [
    [ram, ["allocFrame", "allocRun", "allocFrameFast"]],
    [heap, ["alloc", "allocWords"]],
  ] as const)
    for (const site of names) Reflect.deleteProperty(owner, site);
  run.world.end(...run.spaces.slice(1).map(({ mm }) => mm));
  return count;
}

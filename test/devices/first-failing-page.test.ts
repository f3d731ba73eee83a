/**
 * @module Which page an error of a command names: the first that cannot be had, whatever is wrong
 * with it and with those behind it, whatever the device had of them before, however little memory
 * it has. A naive model says what is right: it looks at the pages one after the other.
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import type { AddressSpace, View } from "../../src/index.ts";
import { DeviceFault } from "../../src/devices/device-fault.ts";
import type { CommandOutcome } from "../../src/devices/software/command.ts";
import { COMMANDS, type CommandName } from "../../src/devices/software/commands.ts";
import type { FaultService } from "../../src/devices/service/fault-service.ts";
import { SoftwareDevice } from "../../src/devices/software/software-device.ts";
import { EBUSY, EFAULT, ENOMEM, EPERM, errnoName } from "../../src/sync/errno.ts";
import { MIB, PAGE, PlayedDevice, makeSpace, withSpace } from "./harness.ts";
import { inside } from "../inside.ts";

/** What is wrong with a page. */
const STATES = ["fine", "hole", "none", "read-only", "write view"] as const;
type State = (typeof STATES)[number];

const NAMES: readonly CommandName[] = ["read", "write", "snapshot"];

/** The errno that a page of that state gets a command. */
function errnoFor(state: State, name: CommandName): number {
  if (state === "write view") return EBUSY;
  if (name === "snapshot" || state === "fine") return 0;
  if (state === "read-only") return name === "write" ? EPERM : 0;
  return EFAULT;
}

interface Layout {
  readonly states: readonly State[];
  /** What the device did with each page before: nothing, a load, a store. */
  readonly warmth: readonly ("" | "loaded" | "stored")[];
  readonly frames: number;
  /** The first page's place in its block of 512. */
  readonly offsetPages: number;
}

/** How a command is run on a service: as it is, or broken. */
type Runner = (service: FaultService) => FaultService;
const asItIs: Runner = (service) => service;

/** Answers with the page at which the batch began, as the first version did. */
const namesTheBatch: Runner = (service) => {
  const serveRange = service.serveRange.bind(service);
  service.serveRange = function* (startPage, endPage, isWrite) {
    const failure = yield* serveRange(startPage, endPage, isWrite);
    return failure === undefined ? undefined : { page: startPage, errno: failure.errno };
  };
  return service;
};

function runCommand(
  space: AddressSpace,
  service: FaultService,
  name: CommandName,
  address: number,
  bytes: Uint8Array,
): CommandOutcome {
  const lengthBytes = name === "snapshot" ? bytes.length * PAGE : bytes.length;
  return inside(space).runSync(COMMANDS[name].run(service, { address, lengthBytes, bytes }));
}

/** Lays the pages out, and returns their address; `views` gets the open views. */
function layOut(space: AddressSpace, device: PlayedDevice, layout: Layout, views: View[]): number {
  const { states, warmth, offsetPages } = layout;
  const address = 2 ** 33 + offsetPages * PAGE;
  space.mmapSync(states.length * PAGE, { address, fixed: "noreplace" });
  states.forEach((_, i) => space.u32.store(address + i * PAGE, 100 + i));
  warmth.forEach((how, i) => {
    if (how === "loaded") device.load(address + i * PAGE);
    if (how === "stored") device.store(address + i * PAGE, 100 + i);
  });
  states.forEach((state, i) => {
    const at = address + i * PAGE;
    if (state === "hole") space.munmapSync(at, PAGE);
    if (state === "none") space.mprotectSync(at, PAGE, "none");
    if (state === "read-only") space.mprotectSync(at, PAGE, "read");
    if (state === "write view") views.push(space.viewSync(at, PAGE, "write"));
  });
  return address;
}

/** Runs the command on the layout, and holds what comes of it to the model. */
function checkLayout(name: CommandName, layout: Layout, runner: Runner): void {
  const space = makeSpace({ ramBytes: 2 * MIB, heapBytes: 4 * MIB });
  const device = new PlayedDevice(space, { frames: layout.frames, faultTimeoutMs: 5 });
  const views: View[] = [];
  try {
    const { states } = layout;
    const address = layOut(space, device, layout, views);
    const bytes = new Uint8Array(name === "snapshot" ? states.length : states.length * PAGE).fill(
      7,
    );
    const first = states.findIndex((state) => errnoFor(state, name) !== 0);
    const outcome = runCommand(space, runner(device.thread.service), name, address, bytes);
    const expected = first < 0 ? 0 : errnoFor(states[first] ?? "fine", name);
    assert.equal(errnoName(outcome.errno), errnoName(expected));
    assert.equal(outcome.page - address / PAGE, first < 0 ? states.length : first);
    assert.equal(outcome.pages, first < 0 ? states.length : first);
    if (name === "read") checkRead(bytes, first);
    if (name === "write") checkWritten(space, states, address, first);
  } finally {
    for (const view of views) view.disposeSync();
    device.close();
    space.disposeSync();
  }
}

function checkRead(bytes: Uint8Array, first: number): void {
  const words = new Uint32Array(bytes.buffer);
  for (let i = 0; i < words.length; i += PAGE / 4) {
    assert.equal(words[i], first < 0 ? 100 + i / (PAGE / 4) : 0x07070707, "all or nothing");
  }
}

function checkWritten(
  space: AddressSpace,
  states: readonly State[],
  address: number,
  first: number,
): void {
  states.forEach((state, i) => {
    if (state !== "fine" && state !== "read-only") return;
    const isBefore = first < 0 || i < first;
    assert.equal(space.u32.load(address + i * PAGE), isBefore ? 0x07070707 : 100 + i, `page ${i}`);
  });
}

const PAGES = 6;

function layouts(states: readonly State[]): fc.Arbitrary<Layout> {
  return fc.record({
    states: fc.array(fc.constantFrom(...states), { minLength: PAGES, maxLength: PAGES }),
    warmth: fc.array(fc.constantFrom("", "loaded", "stored"), {
      minLength: PAGES,
      maxLength: PAGES,
    }),
    frames: fc.constantFrom(1, 3, 16),
    offsetPages: fc.constantFrom(0, 100, 509, 511), // also across blocks
  });
}

describe("commands name the first page that cannot be had", () => {
  for (const name of NAMES) {
    for (const state of STATES.slice(1)) {
      test(`${name}, ${state}: wherever it is, whatever the device had before`, () => {
        for (const place of [0, 3, PAGES - 1]) {
          for (const warm of ["", "loaded", "stored"] as const) {
            for (const warmPages of [place, PAGES]) {
              const states = Array.from({ length: PAGES }, (_, i) =>
                i === place ? state : "fine",
              );
              const warmth = Array.from({ length: PAGES }, (_, i) => (i < warmPages ? warm : ""));
              checkLayout(name, { states, warmth, frames: 4, offsetPages: 510 }, asItIs);
            }
          }
        }
      });
    }

    test(`${name}: any mixture`, () => {
      const property = fc.property(layouts(STATES), (layout) => checkLayout(name, layout, asItIs));
      fc.assert(property, { numRuns: 60 });
    });
  }

  for (const name of ["read", "write"] as const) {
    test(`broken twin, ${name}: the page at which the batch began is noticed`, () => {
      const property = fc.property(layouts(["fine", "hole"]), (layout) =>
        checkLayout(name, layout, namesTheBatch),
      );
      assert.ok(fc.check(property, { numRuns: 60 }).failed);
    });
  }

  test("a span longer than a block, with one bad page in the third", () =>
    withSpace(
      (space) => {
        const pages = 1200;
        const address = space.mmapSync(pages * PAGE);
        const device = new PlayedDevice(space, { frames: 64, faultTimeoutMs: 5 });
        using view = space.viewSync(address + 1100 * PAGE, PAGE, "write");
        assert.equal(view.lengthBytes, PAGE);
        for (const name of NAMES) {
          const bytes = new Uint8Array(name === "snapshot" ? pages : pages * PAGE);
          const { errno, page } = runCommand(space, device.thread.service, name, address, bytes);
          assert.deepEqual([errnoName(errno), page - address / PAGE], ["EBUSY", 1100], name);
        }
        device.close();
      },
      { ramBytes: 8 * MIB },
    ));
});

describe("memory that runs out", () => {
  /** Leaves so many frames free. */
  function leaveFree(space: AddressSpace, pages: number): void {
    const { freePages } = inside(space).machine.ram.usage();
    const hog = space.mmapSync((freePages - pages) * PAGE);
    for (let i = 0; i < freePages - pages; i++) space.u32.store(hog + i * PAGE, 1);
    assert.equal(inside(space).machine.ram.usage().freePages, pages);
  }

  for (const shared of [false, true]) {
    test(`the first page without a frame, of ${shared ? "shared" : "private"} memory, cold and warm`, () => {
      for (const warmPages of [0, 2, 5]) {
        const space = makeSpace({ ramBytes: MIB });
        const device = new PlayedDevice(space, { frames: 4 });
        const address = space.mmapSync(PAGES * PAGE, { shared });
        // From the last one on: pages behind a stream of stores would get frames, too.
        for (let i = warmPages - 1; i >= 0; i--) device.store(address + i * PAGE, 100 + i);
        leaveFree(space, Math.max(0, 3 - warmPages));
        const first = Math.max(3, warmPages);
        const outcome = runCommand(
          space,
          device.thread.service,
          "write",
          address,
          new Uint8Array(PAGES * PAGE),
        );
        assert.deepEqual(
          [outcome.errno, outcome.page - address / PAGE],
          [ENOMEM, first],
          `${warmPages} warm`,
        );
        if (shared) {
          const bytes = new Uint8Array(PAGES * PAGE);
          const read = runCommand(space, device.thread.service, "read", address, bytes);
          assert.deepEqual(
            [read.errno, read.page - address / PAGE],
            [ENOMEM, first],
            `${warmPages} warm`,
          );
        }
        device.close();
        space.disposeSync();
      }
    });
  }

  test("the first page for which the device has no table, after a block for which it has one", () =>
    withSpace((space) => {
      const device = new PlayedDevice(space, { frames: 4 });
      const address = 2 ** 33 + 509 * PAGE;
      space.mmapSync(PAGES * PAGE, { address, fixed: "noreplace" });
      for (let i = 0; i < PAGES; i++) space.u32.store(address + i * PAGE, i);
      device.load(address); // the first block's table
      const { heap } = inside(space).machine;
      const allocWords = heap.allocWords.bind(heap);
      heap.allocWords = function* (words) {
        return words === 512 ? 0 : yield* allocWords(words);
      };
      for (const name of ["read", "write"] as const) {
        const outcome = runCommand(
          space,
          device.thread.service,
          name,
          address,
          new Uint8Array(PAGES * PAGE),
        );
        assert.deepEqual([outcome.errno, outcome.page - address / PAGE], [ENOMEM, 3], name);
      }
      heap.allocWords = allocWords;
      device.close();
    }));
});

describe("kernels name the page that they touched", () => {
  for (const how of ["load", "store", "atomicAdd"] as const) {
    for (const mayReplay of [true, false]) {
      test(`${how}, ${mayReplay ? "given up and run again" : "stalling"}: any mixture`, () => {
        const property = fc.property(layouts(STATES), (layout) => {
          const space = makeSpace({ ramBytes: 2 * MIB, heapBytes: 4 * MIB });
          const device = new PlayedDevice(space, { frames: layout.frames, faultTimeoutMs: 5 });
          const views: View[] = [];
          try {
            const { states } = layout;
            const address = layOut(space, device, layout, views);
            const name = how === "load" ? "read" : "write";
            const first = states.findIndex((state) => errnoFor(state, name) !== 0);
            const failure = device.tryRun(
              ({ u32 }) => {
                for (let i = 0; i < states.length; i++) {
                  if (how === "load") u32.load(address + i * PAGE + 8);
                  else u32[how](address + i * PAGE + 8, 1);
                }
              },
              1,
              [],
              mayReplay,
            );
            if (first < 0) assert.equal(failure, undefined);
            else {
              assert.ok(failure instanceof DeviceFault);
              const wanted = [
                errnoName(errnoFor(states[first] ?? "fine", name)),
                address + first * PAGE + 8,
                0,
              ];
              assert.deepEqual([failure.code, failure.address, failure.item], wanted);
            }
          } finally {
            for (const view of views) view.disposeSync();
            device.close();
            space.disposeSync();
          }
        });
        fc.assert(property, { numRuns: 25 });
      });
    }
  }
});

test("as the owner of a device sees it: a DeviceFault with the first byte that cannot be had", async () => {
  const space = makeSpace();
  await using device = await SoftwareDevice.create(space, {
    memoryBytes: 8 * PAGE,
    faultTimeoutMs: 5,
  });
  const address = space.mmapSync(PAGES * PAGE);
  const bytes = new Uint8Array(PAGES * PAGE - 200);
  const addressOf = async (promise: Promise<unknown>): Promise<unknown[]> => {
    const error: unknown = await promise.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof DeviceFault, String(error));
    return [error.code, error.access, error.address, error.item];
  };
  {
    using view = space.viewSync(address + 2 * PAGE, PAGE, "write");
    const wanted = (access: string): unknown[] => ["EBUSY", access, view.address, undefined];
    assert.deepEqual(await addressOf(device.read(address + 100, bytes)), wanted("read"));
    assert.deepEqual(await addressOf(device.write(address + 100, bytes)), wanted("write"));
    assert.deepEqual(await addressOf(device.snapshot(address, PAGES * PAGE)), wanted("read"));
  }
  space.munmapSync(address + 4 * PAGE, PAGE);
  const hole = address + 4 * PAGE;
  assert.deepEqual(await addressOf(device.read(address + 100, bytes)), [
    "EFAULT",
    "read",
    hole,
    undefined,
  ]);
  assert.deepEqual(await addressOf(device.write(address + 100, bytes)), [
    "EFAULT",
    "write",
    hole,
    undefined,
  ]);
  // The range begins inside the page: its own first byte, not the page's.
  assert.deepEqual(await addressOf(device.read(hole + 100, bytes.subarray(0, 8))), [
    "EFAULT",
    "read",
    hole + 100,
    undefined,
  ]);
});

/** The error of the command: its code, and at which page of `address`. */
async function failureAt(address: number, command: Promise<unknown>): Promise<unknown[]> {
  const error: unknown = await command.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof DeviceFault, String(error));
  return [error.code, (error.address - address) / PAGE];
}

for (const memory of ["private", "coherent"] as const) {
  describe(`moving pages names the first page that cannot be had, memory ${memory}`, () => {
    const owned = { memoryBytes: 2 * MIB, memory, faultTimeoutMs: 5 } as const;

    for (const bad of [0, 3, 511, 513, 1100]) {
      test(`a hole, no access, a buffer at page ${bad}: those before have moved`, async () => {
        const space = makeSpace({ ramBytes: 16 * MIB });
        await using device = await SoftwareDevice.create(space, { ...owned, memoryBytes: 8 * MIB });
        const pages = 1200;
        const address = 2 ** 33 + 300 * PAGE;
        const at = address + bad * PAGE;
        for (const how of ["hole", "none", "buffer"] as const) {
          space.mmapSync(pages * PAGE, { address, fixed: "replace" });
          if (how === "hole") space.munmapSync(at, PAGE);
          if (how === "none") space.mprotectSync(at, PAGE, "none");
          if (how === "buffer") {
            const buffer = new SharedArrayBuffer(PAGE);
            space.mmapSync(PAGE, { address: at, fixed: "replace", buffer });
          }
          const wanted = ["EINVAL", bad];
          const lengthBytes = pages * PAGE;
          assert.deepEqual(await failureAt(address, device.migrate(address, lengthBytes)), wanted);
          const { pages: moved } = await device
            .migrate(address, Math.max(1, bad) * PAGE)
            .catch(() => ({ pages: 0 }));
          assert.equal(moved, bad);
          assert.equal(space.smapsSync().total.deviceBytes, bad * PAGE, how);
          assert.deepEqual(
            await failureAt(address, device.migrateBack(address, lengthBytes)),
            wanted,
          );
          assert.equal(space.smapsSync().total.deviceBytes, 0, how);
        }
        space.disposeSync();
      });
    }

    test("no RAM to come back to: the first page that has to stay", async () => {
      const space = makeSpace({ ramBytes: MIB });
      await using device = await SoftwareDevice.create(space, owned);
      const address = space.mmapSync(200 * PAGE);
      for (let i = 0; i < 200; i++) space.u32.store(address + i * PAGE, i);
      await device.migrate(address, 200 * PAGE);
      const { freeBytes } = space.statsSync().ram;
      const hog = space.mmapSync(freeBytes);
      for (let at = 0; at < freeBytes - 10 * PAGE; at += PAGE) space.u32.store(hog + at, 1);
      const [name, page] = await failureAt(address, device.migrateBack(address, 200 * PAGE));
      const left = space.smapsSync().total.deviceBytes / PAGE;
      assert.deepEqual([name, page], ["ENOMEM", 200 - left]);
      assert.ok(left >= 190 && left < 200, String(left));
      space.munmapSync(hog, freeBytes);
      await device.migrateBack(address, 200 * PAGE);
      for (let i = 0; i < 200; i++) assert.equal(space.u32.load(address + i * PAGE), i);
      space.disposeSync();
    });
  });
}

describe("taking pages for the device alone", () => {
  const withDevice = async (
    body: (space: AddressSpace, device: SoftwareDevice) => Promise<void>,
  ): Promise<void> => {
    const space = makeSpace({ ramBytes: 8 * MIB });
    await using device = await SoftwareDevice.create(space, {
      memoryBytes: MIB,
      faultTimeoutMs: 5,
    });
    await body(space, device);
    space.disposeSync();
  };

  for (const bad of [0, 5, 64, 70, 129]) {
    test(`names the first that cannot be had, ${bad}, and has those before`, () =>
      withDevice(async (space, device) => {
        const pages = 150;
        const address = space.mmapSync(pages * PAGE);
        const at = address + bad * PAGE;
        const check = async (wanted: string): Promise<void> => {
          const command = device.makeExclusive(address, pages * PAGE);
          assert.deepEqual(await failureAt(address, command), [wanted, bad]);
          const exclusive = await device.exclusivePages(address, pages * PAGE);
          assert.equal(exclusive, bad, wanted);
        };
        {
          using view = space.viewSync(at, PAGE, "read");
          await check("EBUSY");
          assert.equal(view.bytes[0], 0);
        }
        space.mprotectSync(at, PAGE, "read");
        await check("EPERM");
        space.mprotectSync(at, PAGE, "none");
        await check("EFAULT");
        space.mmapSync(PAGE, { address: at, fixed: "replace", shared: true });
        await check("EOPNOTSUPP");
        space.munmapSync(at, PAGE);
        await check("EFAULT");
        space.mmapSync(PAGE, { address: at, fixed: "noreplace" });
        assert.equal((await device.makeExclusive(address, pages * PAGE)).pages, pages);
      }));
  }

  test("a private page of a source is read, and copied", () =>
    withDevice(async (space, device) => {
      const source = {
        lengthBytes: 100 * PAGE,
        read: (offsetBytes: number, into: Uint8Array): void => {
          into.fill(7);
          if (offsetBytes + into.length > 90 * PAGE) throw new Error("out of order");
        },
      };
      const p = space.mmapSync(100 * PAGE, { source });
      assert.equal((await device.makeExclusive(p, 80 * PAGE)).pages, 80);
      assert.equal(await device.exclusivePages(p, 80 * PAGE), 80);
      assert.equal(space.u8.load(p + 79 * PAGE), 7);
      const [name, page] = await failureAt(p, device.makeExclusive(p, 100 * PAGE));
      assert.equal(name, "EFAULT");
      assert.equal(page, 90);
      assert.equal(await device.exclusivePages(p, 100 * PAGE), 90);
    }));
});

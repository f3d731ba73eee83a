/**
 * @module Stores through read views, which a debug build reports when the view is disposed of. It
 * reports no other stores: not those that are allowed through mappings, by devices, through write
 * views and by other spaces, at any time and from any thread.
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { type AddressSpace, HmmError, type View } from "../../src/index.ts";
import { READ_VIEW_NOTIFIER } from "../../src/mm/view/view-watch.ts";
import { registerNotifierOps } from "../../src/notifier/mmu-notifier.ts";
import { PlayedDevice } from "../devices/harness.ts";
import {
  FAR,
  MIB,
  PAGE,
  accountingOf,
  makeSpace,
  stampPages,
  thrownBy,
  withSpace,
} from "./fixture.ts";
import { startWorker } from "./space-threads.ts";
import { inside } from "../inside.ts";

/** What disposing of the view throws, if it does: it must be a stray store, at this address. */
async function strayOf(view: View, form: "async" | "sync" = "sync"): Promise<number | undefined> {
  const error = await thrownBy(() => (form === "sync" ? view.disposeSync() : view.dispose()));
  if (error === undefined) return undefined;
  assert.ok(error instanceof HmmError);
  assert.equal(error.code, "EPERM");
  assert.equal(error.syscall, "view");
  assert.match(
    error.message,
    /^Cannot trust the view at 0x[0-9a-f]+, opened for "read": .+; open the view with "write"/,
  );
  assert.ok(
    error.address !== undefined && error.message.includes(`0x${error.address.toString(16)}`),
  );
  return error.address;
}

describe("a store through a read view is noticed", () => {
  for (const form of ["async", "sync"] as const) {
    test(`${form}: it is named by its first byte, the range is given back all the same`, () =>
      withSpace(async (space) => {
        const p = space.mmapSync(3 * PAGE);
        stampPages(space, p, 3, 1);
        space.viewSync(p, 3 * PAGE, "read").disposeSync(); // what is made once and stays
        const before = accountingOf(space);
        const view = space.viewSync(p + 100, 2 * PAGE, "read");
        view.bytes[2 * PAGE - 1] = 9;
        view.as(Uint32Array)[PAGE / 4] = 0x01020000;
        assert.equal(await strayOf(view, form), p + 100 + PAGE + 2, "the low half is as it was");
        assert.deepEqual(accountingOf(space), before);
        await view.dispose();
        view.disposeSync();
        view[Symbol.dispose]();
        assert.throws(() => view.bytes, { code: "EBADF" });
        assert.equal(space.u8.load(p + 100 + PAGE + 2), 2, "the store was made");
      }));
  }

  test("at the end of a using block, and of an await using block", () =>
    withSpace(async (space) => {
      const p = space.mmapSync(PAGE);
      const block = (): void => {
        using view = space.viewSync(p, PAGE, "read");
        view.bytes[5] = 1;
      };
      assert.throws(block, { code: "EPERM", address: p + 5 });
      const asyncBlock = async (): Promise<void> => {
        await using view = await space.view(p, PAGE, "read");
        view.bytes[6] = 1;
      };
      await assert.rejects(asyncBlock(), { code: "EPERM", address: p + 6 });
    }));

  test("past mprotect, and unseen by a device that has a copy: what makes it worth noticing", () =>
    withSpace(async (space) => {
      const p = space.mmapSync(PAGE);
      space.u32.store(p, 1);
      const device = new PlayedDevice(space, { frames: 4 });
      assert.equal(device.load(p), 1);
      space.mprotectSync(p, PAGE, "read");
      assert.equal(device.load(p), 1);
      const view = space.viewSync(p, PAGE, "read");
      view.as(Uint32Array)[0] = 2;
      assert.deepEqual([space.u32.load(p), device.load(p)], [2, 1]);
      assert.equal(await strayOf(view), p);
      device.close();
    }));

  test("beside devices that read the page, before and afterwards", () =>
    withSpace(async (space) => {
      const p = space.mmapSync(2 * PAGE);
      stampPages(space, p, 2, 5);
      const device = new PlayedDevice(space, { frames: 4 });
      device.load(p);
      const view = space.viewSync(p, 2 * PAGE, "read");
      assert.deepEqual([device.load(p), device.load(p + PAGE)], [5, 6]);
      assert.equal(device.entry(p), "local");
      view.bytes[PAGE + 1] = 1;
      assert.equal(await strayOf(view), p + PAGE + 1);
      device.close();
    }));

  test("on one page, while another one is written as it may be", () =>
    withSpace(async (space) => {
      const p = space.mmapSync(2 * PAGE);
      const view = space.viewSync(p, 2 * PAGE, "read");
      space.u32.store(p, 1);
      view.bytes[PAGE] = 1;
      assert.equal(await strayOf(view), p + PAGE);
    }));

  test("by each view of the page, whichever it went through", () =>
    withSpace(async (space) => {
      const p = space.mmapSync(PAGE);
      const [first, second] = [space.viewSync(p, PAGE, "read"), space.viewSync(p + 8, 8, "read")];
      first.bytes[9] = 1;
      assert.equal(await strayOf(second), p + 9);
      assert.equal(await strayOf(first), p + 9);
    }));

  test("in a view of more pages than it has marks", () =>
    withSpace(
      async (space) => {
        const p = space.mmapSync(3000 * PAGE);
        const view = space.viewSync(p, 3000 * PAGE, "read");
        space.u32.store(p + 2000 * PAGE, 1);
        view.bytes[2900 * PAGE + 7] = 1;
        assert.equal(await strayOf(view), p + 2900 * PAGE + 7);
      },
      { ramBytes: 16 * MIB },
    ));

  test("twin: without `debug` nobody looks", () =>
    withSpace(
      async (space) => {
        const p = space.mmapSync(PAGE);
        const view = space.viewSync(p, PAGE, "read");
        view.bytes[0] = 1;
        assert.equal(await strayOf(view), undefined);
      },
      { debug: false },
    ));
});

describe("no false alarm", () => {
  const change: Readonly<Record<string, (space: AddressSpace, p: number) => void>> = {
    "nothing at all": () => {},
    "a load": (space, p) => void space.u32.load(p),
    "a store": (space, p) => space.u32.store(p, 7),
    "an atomic": (space, p) => void space.u32.atomicAdd(p, 7),
    "write()": (space, p) => space.writeSync(p, Uint8Array.of(7, 7)),
    "a write view": (space, p) => {
      using view = space.viewSync(p, PAGE, "write");
      view.bytes[0] = 7;
    },
    "a write view of the next page too": (space, p) => {
      using view = space.viewSync(p, PAGE + 8, "write");
      view.bytes.fill(7);
    },
    "protecting it, and a store when that is over": (space, p) => {
      space.mprotectSync(p, PAGE, "read");
      space.mprotectSync(p, PAGE, "read-write");
      space.u32.store(p, 7);
    },
    "a fork, with stores on both sides": (space, p) => {
      using child = space.forkSync();
      child.u32.store(p, 8);
      space.u32.store(p, 7);
    },
    "unmapping, and mapping anew": (space, p) => {
      space.munmapSync(p, PAGE);
      space.mmapSync(PAGE, { address: p, fixed: "noreplace" });
      space.u32.store(p, 7);
    },
    "discarding it": (space, p) => {
      space.madviseSync(p, PAGE, "dontneed");
      space.u32.store(p, 7);
    },
    "moving it, and a store at its new address": (space, p) => {
      const to = space.mremapSync(p, PAGE, PAGE, { mayMove: true, to: FAR });
      space.u32.store(to, 7);
    },
    "a device's store": (space, p) => {
      const device = new PlayedDevice(space, { frames: 2 });
      device.store(p, 7);
      device.close();
    },
    "a device's atomic": (space, p) => {
      const device = new PlayedDevice(space, { frames: 2 });
      device.run(({ u32 }) => void u32.atomicAdd(p, 7), 1);
      device.close();
    },
    "a store, and then a device's copy": (space, p) => {
      space.u32.store(p, 7);
      const device = new PlayedDevice(space, { frames: 2 });
      assert.equal(device.load(p), 7);
      device.close();
    },
  };

  for (const shared of [false, true]) {
    for (const [what, act] of Object.entries(change)) {
      test(`${what}, ${shared ? "shared" : "private"}`, () =>
        withSpace(async (space) => {
          const p = space.mmapSync(2 * PAGE, { shared });
          space.u32.store(p, 1);
          space.viewSync(p, 2 * PAGE, "read").disposeSync(); // the frames are in a row from now on
          const view = space.viewSync(p, PAGE, "read");
          act(space, p);
          assert.equal(await strayOf(view), undefined);
        }));
    }
  }

  test("a device that could store to the page when the view was opened", () =>
    withSpace(async (space) => {
      const p = space.mmapSync(PAGE);
      const device = new PlayedDevice(space, { frames: 2 });
      device.store(p, 1);
      assert.equal(device.entry(p), "remote write");
      const view = space.viewSync(p, PAGE, "read");
      assert.equal(device.entry(p), "", "it was told");
      device.store(p, 2);
      assert.equal(view.as(Uint32Array)[0], 2);
      assert.equal(await strayOf(view), undefined);
      device.close();
    }));

  test("a write view that was open before, and stores on", () =>
    withSpace(async (space) => {
      const p = space.mmapSync(2 * PAGE);
      space.viewSync(p, 2 * PAGE, "read").disposeSync(); // the frames are in a row from now on
      using writer = space.viewSync(p, PAGE, "write");
      const view = space.viewSync(p, 2 * PAGE, "read");
      writer.bytes[0] = 1;
      space.u32.store(p + 4, 1);
      assert.equal(await strayOf(view), undefined);
    }));

  test("shared memory that a forked space stores to, and a buffer that its owner stores to", () =>
    withSpace(async (space) => {
      const p = space.mmapSync(PAGE, { shared: true });
      const buffer = new SharedArrayBuffer(PAGE);
      const q = space.mmapSync(PAGE, { buffer });
      using child = space.forkSync();
      const views = [space.viewSync(p, PAGE, "read"), space.viewSync(q, PAGE, "read")];
      child.u32.store(p, 1);
      new Uint8Array(buffer).fill(1);
      for (const view of views) assert.equal(await strayOf(view), undefined);
    }));

  test("other threads that store, map, protect, fork and unmap all the time", async () => {
    const space = makeSpace({ ramBytes: 16 * MIB });
    space.mmapSync(4 * PAGE, { address: FAR, fixed: "noreplace" });
    const gate = new Int32Array(new SharedArrayBuffer(4));
    const workers = [0, 1].map((index) => startWorker(space, "storm", index, 40, gate));
    await Promise.all(workers.map((worker) => worker.next("said")));
    const state = { isRunning: true };
    const end = Promise.all(workers.map((worker) => worker.result)).finally(() => {
      state.isRunning = false;
    });
    Atomics.store(gate, 0, 1);
    Atomics.notify(gate, 0);
    let views = 0;
    while (state.isRunning) {
      const view = space.viewSync(FAR, 4 * PAGE, "read");
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(await strayOf(view), undefined);
      views++;
    }
    await end;
    assert.ok(views > 0);
    // Twin: now that they have gone, a store of this kind is seen.
    const view = space.viewSync(FAR, 4 * PAGE, "read");
    view.bytes[PAGE] = (view.bytes[PAGE] ?? 0) + 1;
    assert.equal(await strayOf(view), FAR + PAGE);
    await space.dispose();
  });

  test("broken twin: a watch that is not told takes a store that is allowed for a stray one", () =>
    withSpace(async (space) => {
      const p = space.mmapSync(PAGE);
      registerNotifierOps("read view", {});
      try {
        const view = space.viewSync(p, PAGE, "read");
        space.u32.store(p, 7);
        assert.equal(await strayOf(view), p);
      } finally {
        registerNotifierOps("read view", READ_VIEW_NOTIFIER);
      }
    }));
});

describe("what it does not see, as docs/LIMITS.md says", () => {
  test("a stray store to a page that stores were allowed to, or whose mapping changed, meanwhile", () =>
    withSpace(async (space) => {
      const p = space.mmapSync(PAGE);
      const view = space.viewSync(p, PAGE, "read");
      space.u32.store(p, 1);
      view.bytes[8] = 1;
      assert.equal(await strayOf(view), undefined);
    }));

  test("a stray store that changes nothing", () =>
    withSpace(async (space) => {
      const p = space.mmapSync(PAGE);
      const view = space.viewSync(p, PAGE, "read");
      view.bytes[8] = 0;
      assert.equal(await strayOf(view), undefined);
    }));
});

test("without room for the watch the view opens, and nobody looks", () =>
  withSpace(async (space) => {
    const p = space.mmapSync(PAGE);
    space.u32.store(p, 1);
    const { heap } = inside(space).machine;
    const alloc = heap.alloc.bind(heap);
    heap.alloc = function* (info, kind) {
      return info.name === "viewWatch" ? 0 : yield* alloc(info, kind);
    };
    const view = space.viewSync(p, PAGE, "read");
    heap.alloc = alloc;
    view.bytes[0] = 2;
    assert.equal(await strayOf(view), undefined);
  }));

/** An act of a random program: on which of four pages, and what. */
const ACTS = [
  "store",
  "device store",
  "device load",
  "write view",
  "protect",
  "fork",
  "dontneed",
  "stray",
] as const;

function perform(
  space: AddressSpace,
  device: PlayedDevice,
  view: View,
  act: (typeof ACTS)[number],
  page: number,
): void {
  const at = view.address + page * PAGE;
  if (act === "store") space.u32.store(at, space.u32.load(at) + 1);
  else if (act === "device store") device.store(at, 77);
  else if (act === "device load") device.load(at);
  else if (act === "write view") space.viewSync(at, PAGE, "write").disposeSync();
  else if (act === "protect") {
    space.mprotectSync(at, PAGE, "read");
    space.mprotectSync(at, PAGE, "read-write");
  } else if (act === "fork") space.forkSync().disposeSync();
  else if (act === "dontneed") space.madviseSync(at, PAGE, "dontneed");
  else view.bytes[page * PAGE + 9] = (view.bytes[page * PAGE + 9] ?? 0) + 1;
}

test("any sequence: an alarm where only stray stores were made, and none where none was", () => {
  const programs = fc.array(fc.record({ act: fc.constantFrom(...ACTS), page: fc.nat(3) }), {
    maxLength: 8,
  });
  const property = fc.property(programs, fc.boolean(), (program, isWarm) => {
    const space = makeSpace();
    const device = new PlayedDevice(space, { frames: 3 });
    const p = space.mmapSync(4 * PAGE);
    stampPages(space, p, 4, 1);
    if (isWarm) for (let i = 0; i < 4; i++) device.load(p + i * PAGE);
    const view = space.viewSync(p, 4 * PAGE, "read");
    for (const { act, page } of program) perform(space, device, view, act, page);
    let found: number | undefined;
    try {
      view.disposeSync();
    } catch (error) {
      assert.ok(error instanceof HmmError && error.address !== undefined);
      found = Math.floor((error.address - p) / PAGE);
    }
    device.close();
    space.disposeSync();
    const pagesOf = (acts: RegExp): number[] =>
      program.filter(({ act }) => acts.test(act)).map(({ page }) => page);
    const stray = new Set(pagesOf(/stray/));
    const isAny = pagesOf(/fork/).length > 0;
    const changed = pagesOf(/store|view|protect|dontneed/);
    // A device that copies pages takes the right to store from all of them at once, if one may be
    // stored to.
    const isCopied = changed.length > 0 && pagesOf(/load/).length > 0;
    const mayChange = new Set(isAny || isCopied ? [0, 1, 2, 3] : changed);
    const sure = [...stray].filter((page) => !mayChange.has(page));
    if (found === undefined) assert.deepEqual(sure, []);
    else {
      assert.ok(stray.has(found), `page ${found} was changed by nobody`);
      assert.ok(found <= Math.min(...sure, 4), `page ${found} is not the first`);
    }
  });
  fc.assert(property, { numRuns: 150 });
});

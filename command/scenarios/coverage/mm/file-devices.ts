/**
 * @module A device that may write a page of a shared file, beside a write-back. What it stores is
 * never lost: the write-back notifies it before the page counts as written, and a device that comes
 * again marks the page.
 */

import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import { DEFAULT_ENCODING, entryIsWritable, entryPfn } from "../../../../src/hmm/entry.ts";
import { registerMirrorOps } from "../../../../src/hmm/mirror/mirror-ops.ts";
import { dataStep } from "../../../../src/memory/frames/page-data.ts";
import { EBUSY } from "../../../../src/sync/errno.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import { type HarnessBody, type HarnessTwin, coveringOnHarness } from "../on-harness.ts";
import type { Covered } from "../covered.ts";
import { dirtied, requireStored } from "./file-checks.ts";
import { type StoreStage, makeStage, sync } from "./store-stage.ts";

interface World extends StoreStage {
  readonly device: HarnessDevice;
  /** One whose driver does not hear. */
  readonly deaf: HarnessDevice | undefined;
}

type Body = HarnessBody<World>;

/** Stores 9 if it may write the page; and else asks for it, once. */
const storesBy = (choose: (world: World) => HarnessDevice): Body =>
  function* (world, { machine }) {
    const device = choose(world);
    for (let tries = 0; tries < 2; tries++) {
      yield* device.driverLock.lock();
      const entry = device.entry(HARNESS_PAGE);
      const isWritable = entryIsWritable(entry, DEFAULT_ENCODING);
      if (isWritable) {
        const pfn = entryPfn(entry, DEFAULT_ENCODING);
        yield* dataStep(machine.memory, "write", pfn);
        machine.ram.sections.of(pfn).i32[machine.ram.sections.wordIndex(pfn)] = 9;
      }
      yield* device.driverLock.unlock();
      if (isWritable || tries > 0) return;
      const answer = yield* device.serve(HARNESS_PAGE, 1, { write: true });
      assert(answer === 0 || answer === EBUSY, `the device answered ${answer}`);
    }
  };

/** Broken: never lets go. */
const DEAF_OPS: number = registerMirrorOps("scenario device of a file that does not hear", {
  *invalidate() {
    return 0;
  },
});

const DEAF: HarnessTwin<World> = [
  "deaf",
  "The device's driver does not let go of the page when it is notified.",
  "assertion",
  { device: storesBy(({ deaf }) => deaf ?? bug("no such device")) },
];

function storing(name: string, summary: string, isThere: boolean): Covered {
  return coveringOnHarness<World>({
    layer: "mm",
    name: `file/${name}`,
    summary,
    harness: { pages: 0, arenaWords: 16_384, frames: 8 },
    exploration: { engine: "bounded", preemptions: 2 },
    setup(harness) {
      const stage = makeStage(harness);
      dirtied(stage, harness);
      const device = HarnessDevice.registered(harness);
      const deaf = isThere ? HarnessDevice.registered(harness, DEAF_OPS) : undefined;
      for (const one of isThere ? [device, deaf] : [])
        if (one !== undefined) harness.run(one.serve(HARNESS_PAGE, 1, { write: true }));
      return { ...stage, device, deaf };
    },
    reopen: ({ store }) => store.reset(1),
    tasks: {
      syncer: [
        ["mm/source/write-back.syncPages", "mm/source/write-back.cleanEntries"],
        (world, harness) => sync(harness, world),
      ],
      device: [[], storesBy(({ device }) => device)],
    },
    check: (world, harness) => requireStored(5, 9)(world, harness),
    twins: isThere ? [DEAF] : [],
  });
}

export const devicesOfFiles: readonly Covered[] = [
  storing(
    "msync-vs-device",
    "A device that may write a page stores while it is written back.",
    true,
  ),
  storing(
    "msync-vs-device-fault",
    "A device asks for a page to write it, and stores, while the page is written back.",
    false,
  ),
];

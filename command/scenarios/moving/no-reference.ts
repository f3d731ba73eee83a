/** @module A touch calls the driver of a page's device, and has no reference of the page. */

import type { HmmHarness } from "../../../src/checker/harness/hmm-harness.ts";
import { DeviceMemory } from "../../../src/memory/frames/device-frames.ts";
import { endDeviceMemory } from "../../../src/mm/migrate/device-evict.ts";
import { migrateFaultToRam } from "../../../src/mm/migrate/migrate-vma.ts";
import { ptePfn } from "../../../src/mm/pte.ts";
import { bug } from "../../../src/sync/errors.ts";
import { type Task, access } from "../../../src/sync/tasks/task.ts";
import {
  BEFORE,
  type MigrationWorld,
  load,
  locked,
  requireContents,
} from "../coverage/mm/migrate-stage.ts";
import type { Exhibit } from "../exhibit.ts";
import { devicePageFault, moving } from "./stage.ts";

/** The frame names its device, whose driver is called. */
function touchUnreferenced(_world: MigrationWorld, harness: HmmHarness): Task<void> {
  const { memory, ram } = harness.machine;
  return locked(harness, function* () {
    const fault = yield* devicePageFault(harness);
    if (fault === undefined) return;
    const device = DeviceMemory.at(memory, ram.sections.deviceOf(ptePfn(fault.pte)));
    yield* access(memory, "read", device.at + DeviceMemory.offset.opsId, 1, "device memory");
    yield* migrateFaultToRam(fault, device);
  });
}

function* end({ memory }: MigrationWorld, { machine }: HmmHarness): Task<void> {
  const answer = yield* endDeviceMemory(machine, memory, Infinity);
  if (answer !== 0) bug(`The end of the device answered ${answer}`);
}

export const noReference: Exhibit = {
  id: "moving/no-reference",
  title: "A touch of a device's page, without a reference",
  was: `
A page in a device's *private* memory has an entry that is not present, and names the frame on the
device. When a CPU thread touches the page, the fault reads the entry, finds the device by the
frame, and calls its driver, which brings the page back to RAM. All this is done holding the mmap
lock for reading.
`,
  wrong: `
The fault has read the frame's number from the entry, and has no reference of the frame. The lock
keeps out those who change mappings. It does not keep out another migration, which holds it for
reading, too. So the page may come back by another thread's hand. Then its frame on the device is
free, and the device may end: nothing of it is in use any more. The first thread still follows the
number to the device, and calls a driver that is gone.
`,
  now: `
The fault takes a reference of the frame before it looks for the device
(\`src/mm/fault/device-private.ts\`). It must not do so blindly, for the frame may have been freed
and its count with it. It rechecks the entry in a read section that the end of a device waits for
(\`src/mm/fault/vm-fault.ts\`, F3). A device with a frame in use does not end.
`,
  notes: `
Fixed in Linux in 2022 (16ce101db85d), which gave the driver's call-back the page with a reference
that the fault holds.
`,
  before: [
    moving({
      name: "moving/no-reference/before",
      summary: "a thread touches a page in the memory of a device that ends",
      expects: "use-after-free",
      exploration: { engine: "bounded", preemptions: 1 },
      isThere: true,
      tasks: { touch: touchUnreferenced, end },
      check: requireContents(BEFORE),
    }),
  ],
  after: [
    moving({
      name: "moving/no-reference/after",
      summary: "the same, with the shipped fault",
      exploration: { engine: "bounded", preemptions: 1 },
      isThere: true,
      tasks: { touch: load, end },
      check: requireContents(BEFORE),
    }),
  ],
};

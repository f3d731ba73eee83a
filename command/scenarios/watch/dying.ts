/**
 * @module A thread that dies at any point of a fault: what it had is given back by the shipped
 * releasers, or the machine stops. Not of what it was just giving back itself: one thing may then
 * be left (sync/lockdep/resources.ts), never released twice.
 */

import { Cell } from "../../../src/checker/primitives/program.ts";
import { HARNESS_PAGE, harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { hmmRangeAlloc, hmmRangeRegister } from "../../../src/hmm/range/range.ts";
import { PAGE_BYTES } from "../../../src/mm/pte.ts";

interface Owning {
  readonly device: HarnessDevice;
  /** 1 once the thread has all that it wants, and lives. */
  readonly owns: Cell;
}

export const dying: readonly AnyScenario[] = [
  harnessScenario<Owning>({
    name: "watch/dying/fault",
    summary:
      "a thread dies somewhere in a device fault: its range goes, and with it the user of the address space",
    harness: { pages: 1 },
    exploration: { deaths: 1 },
    setup(harness) {
      const at = harness.run(harness.machine.heap.allocWords(512));
      return {
        device: HarnessDevice.registered(harness),
        owns: new Cell(harness.machine.memory, at, "owns"),
      };
    },
    tasks: {
      *fault({ device, owns }, { machine }) {
        const range = yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(1) });
        if (typeof range === "number") return;
        const start = HARNESS_PAGE * PAGE_BYTES;
        if ((yield* hmmRangeRegister(range, device.mirror, start, start + PAGE_BYTES)) !== 0)
          return;
        yield* device.serveRange(range);
        yield* owns.store(1);
      },
    },
    check({ owns }, { mm }) {
      const users = mm.users.read();
      const expected = 1 + owns.peek();
      if (users !== expected)
        throw new Error(`the address space has ${users} users, and ${expected} that know of it`);
    },
  }),
];

/**
 * @module What a space's mappings have in memory (mm/calls/smaps.ts) is counted while another
 * thread unmaps: what is told was so at one moment.
 */

import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { readPagemap } from "../../../../src/mm/calls/pagemap.ts";
import { readSmaps } from "../../../../src/mm/calls/smaps.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { coveringOnHarness } from "../on-harness.ts";

/** Both are mapped, and present. */
const PAGES = 2;

interface World {
  mappedBytes: number;
  residentBytes: number;
}

function* ask(world: World, { machine, mm }: HmmHarness): Task<void> {
  const { mappings, total } = yield* readSmaps(machine, mm);
  const sum = mappings.reduce((bytes, mapping) => bytes + mapping.residentBytes, 0);
  assert(sum === total.residentBytes, `the sum is ${sum}, and ${total.residentBytes} is told`);
  world.mappedBytes = total.sizeBytes;
  world.residentBytes = total.residentBytes;
}

/** Looks twice: the mapping may go meanwhile. */
function* askTwice(world: World, { machine, mm }: HmmHarness): Task<void> {
  const { total } = yield* readSmaps(machine, mm);
  world.mappedBytes = total.sizeBytes;
  const pages = yield* readPagemap(machine, mm, HARNESS_PAGE, HARNESS_PAGE + PAGES);
  const resident = pages.filter(({ present }) => present);
  world.residentBytes = resident.length * PAGE_BYTES;
}

export const memoryUse: readonly Covered[] = [
  coveringOnHarness<World>({
    layer: "mm",
    name: "smaps-vs-munmap",
    summary: "What mappings have in memory is counted while one of two pages is unmapped.",
    harness: { pages: PAGES },
    setup: () => ({ mappedBytes: 0, residentBytes: 0 }),
    reopen(world) {
      world.mappedBytes = 0;
      world.residentBytes = 0;
    },
    tasks: {
      asker: [["mm/calls/smaps.readSmaps", "mm/calls/smaps.countVma"], ask],
      unmapper: [
        ["mm/calls/munmap.doMunmap"],
        (_world, { machine, mm }) => doMunmap(machine, mm, HARNESS_PAGE * PAGE_BYTES, PAGE_BYTES),
      ],
    },
    check({ mappedBytes, residentBytes }) {
      const isAtOnce = mappedBytes === residentBytes && mappedBytes > 0;
      assert(isAtOnce, `${residentBytes} of ${mappedBytes} bytes are told to be in memory`);
    },
    twins: [
      [
        "in-two-looks",
        "The mappings and what they have are looked at one after the other.",
        "assertion",
        { asker: askTwice },
      ],
    ],
  }),
];

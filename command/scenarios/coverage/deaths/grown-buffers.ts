/**
 * @module A thread that dies while a mapping of a user's buffer grows where it is: where it has
 * grown, other threads have been told to forget what they remember of frames there (`flushPlace` of
 * mm/vma/vma-source.ts, X6 of mmu/soft-tlb.ts). In the twin nobody tells them.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { doMremap } from "../../../../src/mm/calls/mremap.ts";
import type { Mm } from "../../../../src/mm/mm-struct.ts";
import { mmapWriteLock } from "../../../../src/mm/migration.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { VM_READ, VM_WRITE, vmaOf } from "../../../../src/mm/vma/vma.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { DONE, type Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, ONE_DIES, coveringOnHarness } from "../on-harness.ts";

interface World {
  /** The generation of the place at the beginning. */
  readonly generation: number;
}

type Body = HarnessBody<World>;

/** Pages of the buffer, of which one is mapped. */
const PAGES = 2;
const ADDRESS: number = HARNESS_PAGE * PAGE_BYTES;

const generationOf = ({ machine, mm }: HmmHarness): number =>
  machine.memory.words[mm.shootdown.generationWord(HARNESS_PAGE + 1)]!;

const grow = ({ machine }: HmmHarness, mm: Mm): Task<number> =>
  doMremap(machine, mm, {
    address: ADDRESS,
    oldLengthBytes: PAGE_BYTES,
    newLengthBytes: PAGES * PAGE_BYTES,
    mayMove: false,
    to: undefined,
  });

const growUnflushed: Body = (_world, harness) => {
  const { mm } = harness;
  const shootdown = Object.create(mm.shootdown, { flush: { value: () => DONE } }) as object;
  return grow(harness, Object.create(mm, { shootdown: { value: shootdown } }) as Mm);
};

const takeLock: Body = function* (_world, { machine, mm }) {
  yield* mmapWriteLock(machine, mm);
  yield* mm.mmapLock.upWrite();
};

export const deathsOfGrownBuffers: readonly Covered[] = [
  coveringOnHarness<World>({
    layer: "mm",
    name: "death/grow-of-buffer",
    summary: "A thread dies at any step of growing a buffer's mapping where it is.",
    ...ONE_DIES,
    exploration: { engine: "bounded", preemptions: 0, deaths: 1 },
    harness: { pages: 0 },
    mayRemain: "anything",
    setup(harness) {
      const { machine, mm } = harness;
      const buffer = new SharedArrayBuffer(PAGES * PAGE_BYTES);
      const bufferPfn = harness.run(machine.ram.sections.add(buffer));
      const place = { address: ADDRESS, lengthBytes: PAGE_BYTES, placement: MAP_FIXED_NOREPLACE };
      const kind = { protection: VM_READ | VM_WRITE, shared: true, bufferPfn, offsetPages: 0 };
      const mapped = harness.run(doMmap(machine, mm, { ...place, ...kind }));
      assert(mapped === ADDRESS, `the mapping answered ${mapped}`);
      return { generation: generationOf(harness) };
    },
    tasks: {
      dies: [
        ["mm/calls/mremap.doMremap", "mm/vma/vma-map.extendVma"],
        (_world, harness) => grow(harness, harness.mm),
      ],
      next: [["mm/migration.mmapWriteLock"], takeLock],
    },
    check({ generation }, harness) {
      const { machine, mm } = harness;
      if (vmaOf(machine.memory, mm, HARNESS_PAGE + 1) === undefined) return;
      assert(generationOf(harness) !== generation, "nobody forgets what was there before");
    },
    twins: [["unflushed", "Nobody is told.", "assertion", { dies: growUnflushed }]],
  }),
];

/**
 * @module A thread that dies while it lists its space among those that map a source (B3 of
 * mm/vma/source.ts), in place of one that has exited: either the old mapper is listed or the new
 * one, and the other is freed once. In the twin the slot that named the new mapper names the old
 * one when the list is as it was, so that a listed mapper is freed.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { mmCreate, mmdrop, mmgrab, mmput } from "../../../../src/mm/lifetime/mm.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { openSource } from "../../../../src/mm/source/source-table.ts";
import { sourceTable } from "../../../../src/mm/vma/source-list.ts";
import { PageCache, backingOf } from "../../../../src/mm/vma/page-cache.ts";
import { Mapper, type Source, addMapper } from "../../../../src/mm/vma/source.ts";
import { assert } from "../../../../src/sync/errors.ts";
import {
  findResource,
  kindWord,
  removeResourceUnder,
  reserveResource,
  resourceKind,
} from "../../../../src/sync/lockdep/resources.ts";
import { undoStore } from "../../../../src/sync/words/undo-log.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, ONE_DIES, coveringOnHarness } from "../on-harness.ts";

interface World {
  readonly cache: PageCache;
  readonly source: Source;
  /** With one mapper. */
  readonly accounting: string;
}

type Body = HarnessBody<World>;

/** A source that a space maps which has exited. Its mm stays, by a count of the set-up. */
function makeWorld(harness: HmmHarness): World {
  const { machine } = harness;
  const { memory } = machine;
  harness.run(sourceTable(machine));
  const at = harness.run(openSource(machine, { lengthBytes: PAGE_BYTES, isWritable: true }));
  const source = backingOf(machine, at);
  assert(source !== undefined, "the source can be had");
  const cache = PageCache.at(memory, at);
  const gone = Mm.at(memory, harness.run(mmCreate(machine)));
  assert(harness.run(addMapper(machine, cache, source, gone)) === 0, "there is room");
  harness.run(mmgrab(gone));
  harness.run(mmput(machine, gone));
  return { cache, source, accounting: harness.accounting() };
}

const maps: Body = ({ cache, source }, { machine, mm }) => addMapper(machine, cache, source, mm);

/** As `addMapper`; but the old mapper's place in the list of resources is not undone. */
const mapsInTheSlot: Body = function* ({ cache, source }, { machine, mm }) {
  const { memory, heap } = machine;
  const kind = resourceKind("mapper of a source");
  const fresh = Mapper.at(memory, yield* heap.alloc(Mapper, kind));
  yield* mm.count.get(fresh.at + Mapper.offset.mm, mm.at);
  yield* cache.lock.lock();
  const lock = cache.lock.at;
  const dead = Mapper.at(memory, Mapper.containerOf(source.mappers.first(), "node"));
  source.mappers.addTail(fresh.node, lock);
  removeResourceUnder(memory, lock, findResource(memory, kind, fresh.at));
  dead.node.del(lock);
  const slot = reserveResource(memory, dead.at);
  undoStore(memory, lock, kindWord(memory, slot), kind);
  yield* cache.lock.unlock();
  yield* mmdrop(machine, Mm.at(memory, dead.mm));
  yield* heap.free(Mapper, dead.at, slot);
};

/** Finds the lock of who died with it. */
const looks: Body = function* ({ cache, source }) {
  yield* cache.lock.lock();
  const count = [...source.mappers.nodes()].length;
  yield* cache.lock.unlock();
  assert(count === 1, `${count} spaces are listed`);
};

/** One of the two is listed, and nothing is lost. */
function check({ accounting }: World, harness: HmmHarness): void {
  const left = harness.accounting();
  assert(left === accounting, `there was ${accounting}; and now there is ${left}`);
}

export const deathsWithMappers: readonly Covered[] = [
  coveringOnHarness<World>({
    layer: "mm",
    name: "death/mapper",
    summary:
      "A thread dies at any step of listing its space with a source, in place of a dead one.",
    harness: { pages: 0, arenaWords: 8192 },
    ...ONE_DIES,
    mayRemain: "anything",
    setup: makeWorld,
    tasks: {
      dies: [["mm/vma/source.addMapper"], maps],
      looks: [["memory/layout/list.nodes"], looks],
    },
    check,
    twins: [
      [
        "slot",
        "The slot of the new mapper names the old one also if the list is as it was.",
        "assertion",
        { dies: mapsInTheSlot },
      ],
    ],
  }),
];

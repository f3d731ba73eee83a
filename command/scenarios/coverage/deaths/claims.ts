/**
 * @module A thread that dies while it opens a file that it is about to map, or gives it up (N5 of
 * mm/source/source-table.ts): the claim is dropped, and with the last one the source ends. In the
 * twin a claim is nobody's for a step.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { claim, dropClaim, openSource } from "../../../../src/mm/source/source-table.ts";
import { backingOf } from "../../../../src/mm/vma/page-cache.ts";
import { sourceTable } from "../../../../src/mm/vma/source-list.ts";
import { assert } from "../../../../src/sync/errors.ts";
import {
  findResource,
  removeResource,
  resourceKind,
} from "../../../../src/sync/lockdep/resources.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, ONE_DIES, coveringOnHarness } from "../on-harness.ts";

const FILE = {
  lengthBytes: PAGE_BYTES,
  isWritable: true,
  file: { device: 1n, inode: 2n, bornNs: 3n },
} as const;

interface World {
  /** A source that is no file, which the set-up has claimed. */
  readonly other: number;
  /** Without what the tasks open. */
  readonly accounting: string;
}

type Body = HarnessBody<World>;

function* open({ machine }: HmmHarness): Task<number> {
  const cache = yield* openSource(machine, FILE);
  assert(cache > 0, `the source cannot be opened: ${cache}`);
  return cache;
}

const opens: Body = function* (_world, harness) {
  yield* dropClaim(harness.machine, yield* open(harness));
};

const opensUnlisted: Body = function* (_world, harness) {
  const { memory } = harness.machine;
  const cache = yield* open(harness);
  removeResource(memory, findResource(memory, resourceKind("claim of a source"), cache));
  yield* access(memory, "read", harness.mm.at, 1, "between");
  yield* dropClaim(harness.machine, cache);
};

const claims: Body = function* ({ other }, { machine }) {
  yield* claim(machine, other);
  yield* dropClaim(machine, other);
};

const claimsUnlisted: Body = function* ({ other }, { machine, mm }) {
  const { memory } = machine;
  yield* claim(machine, other);
  removeResource(memory, findResource(memory, resourceKind("claim of a source"), other));
  yield* access(memory, "read", mm.at, 1, "between");
  yield* dropClaim(machine, other);
};

function makeWorld(harness: HmmHarness): World {
  const { machine } = harness;
  harness.run(sourceTable(machine));
  const other = harness.run(openSource(machine, { lengthBytes: PAGE_BYTES, isWritable: true }));
  assert(other > 0, "a source can be had");
  return { other, accounting: harness.accounting() };
}

/** Nothing is lost. */
function check({ other, accounting }: World, harness: HmmHarness): void {
  const left = harness.accounting();
  assert(left === accounting, `there was ${accounting}; and now there is ${left}`);
  const mappings = backingOf(harness.machine, other)?.mappings;
  assert(mappings === 1, `the source counts ${mappings} claims`);
}

function dying(
  name: string,
  summary: string,
  [runs, dies]: readonly [runs: readonly string[], dies: Body],
  twin: Body,
): Covered {
  return coveringOnHarness<World>({
    layer: "mm",
    name: `death/${name}`,
    summary,
    harness: { pages: 0, arenaWords: 8192 },
    ...ONE_DIES,
    mayRemain: "anything",
    setup: makeWorld,
    tasks: { dies: [runs, dies], opens: [["mm/source/source-table.dropClaim"], opens] },
    check,
    twins: [["unlisted", "A claim is nobody's for a step.", "assertion", { dies: twin }]],
  });
}

export const deathsWithClaims: readonly Covered[] = [
  dying(
    "open-file",
    "A thread dies at any step of opening a file, or of giving it up, and another opens it, too.",
    [["mm/source/source-table.openSource", "mm/vma/source.makeSource"], opens],
    opensUnlisted,
  ),
  dying(
    "claim",
    "A thread dies at any step of claiming a source, or of dropping the claim.",
    [["mm/source/source-table.claim", "mm/source/source-table.dropClaim"], claims],
    claimsUnlisted,
  ),
];

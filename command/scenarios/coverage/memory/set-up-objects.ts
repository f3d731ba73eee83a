/**
 * @module Objects that the set-up of a scenario has allocated and its tasks free: they are poisoned
 * and never allocated again, so that every later use or second free is noticed.
 */

import { harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { FindingKind } from "../../../../src/checker/findings/finding.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { struct, u32 } from "../../../../src/memory/layout/struct.ts";
import type { Struct, StructView } from "../../../../src/memory/layout/struct.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";

interface Made extends StructView {
  value: number;
}
const Made: Struct<Made> = struct<Made>("coveredMade", { value: u32("const", "a number") });

/** By task: an object, half a page, four pages. */
interface World {
  readonly objects: readonly [number, number];
  readonly halves: readonly [number, number];
  readonly blocks: readonly [number, number];
}

const HALF_WORDS = 512;
const BLOCK_WORDS = 4096;

function makeWorld(harness: HmmHarness): World {
  const { heap } = harness.machine;
  const object = (): number => harness.alloc(Made).at;
  const words = (count: number): number => harness.run(heap.allocWords(count));
  return {
    objects: [object(), object()],
    halves: [words(HALF_WORDS), words(HALF_WORDS)],
    blocks: [words(BLOCK_WORDS), words(BLOCK_WORDS)],
  };
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;

/** Frees its own objects. */
function freeAll(which: 0 | 1): Body {
  return function* ({ objects, halves, blocks }, { machine: { heap } }) {
    yield* heap.free(Made, objects[which]);
    yield* heap.freeWords(halves[which], HALF_WORDS);
    yield* heap.freeWords(blocks[which], BLOCK_WORDS);
  };
}

const freeHalf: Body = ({ halves }, { machine: { heap } }) => heap.freeWords(halves[0], HALF_WORDS);
const freeBlock: Body = ({ blocks }, { machine: { heap } }) =>
  heap.freeWords(blocks[0], BLOCK_WORDS);

function make(name: string, summary: string, second: Body, expects?: FindingKind): AnyScenario {
  return harnessScenario<World>({
    name,
    summary,
    ...(expects === undefined ? {} : { expects }),
    harness: { pages: 0 },
    setup: makeWorld,
    tasks: { first: freeAll(0), second },
    check: (_world, harness) => {
      for (const kind of [Made.name, "words512"]) {
        assert(
          !harness.accounting().includes(` ${kind}`),
          `what was freed is still counted: ${harness.accounting()}`,
        );
      }
    },
  });
}

const NAME = "coverage/memory/set-up-objects";
const FREE = [
  "memory/heap/heap-blocks.quarantineBlock",
  "memory/heap/slab-cache.quarantine",
] as const;

export const setUpObjects: readonly Covered[] = [
  {
    layer: "memory",
    scenario: make(NAME, "Two tasks free what the set-up has made for each.", freeAll(1)),
    twins: [
      make(`${NAME}/half-twice`, "Both free one half of a page.", freeHalf, "double-free"),
      make(`${NAME}/block-twice`, "Both free one block.", freeBlock, "double-free"),
    ],
    runs: { first: FREE, second: FREE },
  },
];

/**
 * @module Records that are loaded in one go, by the shipped classes, each access a step, while
 * another thread changes the mapping: all words that lie in one page are from before the change, or
 * all from after it. The twins load in ways that look as good: word by word, and with the check of
 * the generation before the words instead of after them.
 */

import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { PAGE_BYTES } from "../../../../src/memory/ram.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { SegmentationFault, bug } from "../../../../src/sync/errors.ts";
import { plainLoad } from "../../../../src/sync/runners/stepping/accesses.ts";
import { callInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { coveringOnHarness } from "../on-harness.ts";
import type { HarnessTasks, HarnessTwin } from "../on-harness.ts";
import { withoutFlush } from "../mm/left-out.ts";

const ADDRESS: number = HARNESS_PAGE * PAGE_BYTES;
/** The last words of the first page and the first ones of the second. */
const ACROSS: number = ADDRESS + PAGE_BYTES - 8;
/** What the record holds at the beginning. */
const BEFORE = [7, 8] as const;
const ZEROS = [0, 0] as const;

interface World {
  /** Each record that was loaded; one that faulted is empty. */
  readonly seen: (readonly number[])[];
  /** An mm that shares the page, or 0. */
  child: number;
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;
type Reader = (cpu: HarnessCpu, address: number, target: Uint32Array) => Task<void>;

/** As shipped. */
const inOneGo: Reader = (cpu, address, target) =>
  callInSteps(cpu.memory.u32, "loadInto", address, target);

/** Two looks: what comes between the words is seen by one of them. */
function* wordByWord(cpu: HarnessCpu, address: number, target: Uint32Array): Task<void> {
  for (let i = 0; i < target.length; i++) target[i] = yield* cpu.load(address + 4 * i);
}

/** The translation is checked, and then used without another look. */
function* checkedBefore(cpu: HarnessCpu, address: number, target: Uint32Array): Task<void> {
  const { tlb } = cpu.memory;
  const page = Math.floor(address / PAGE_BYTES);
  yield* callInSteps(tlb, "find", page, false, address);
  const { section, frame } = tlb;
  if (section === undefined) bug("find found nothing");
  const first = frame * (PAGE_BYTES / 4) + (address % PAGE_BYTES) / 4;
  for (let i = 0; i < target.length; i++)
    target[i] = (yield* plainLoad("data", section.i32, first + i)) >>> 0;
}

/** Loads a record of `words` at `address` by `read`. */
function loading(read: Reader, address: number = ADDRESS, words: number = 2): Body {
  return function* ({ seen }, harness) {
    const target = new Uint32Array(words);
    const cpu = new HarnessCpu(harness);
    try {
      // By the leaf that is kept from now on.
      if (read === inOneGo) yield* cpu.load(address);
      yield* read(cpu, address, target);
      seen.push([...target]);
    } catch (error) {
      if (!(error instanceof SegmentationFault)) throw error;
      seen.push([]);
    }
  };
}

const discard: Body = (_world, harness) => harness.discard(HARNESS_PAGE, 1);
const discardBoth: Body = (_world, harness) => harness.discard(HARNESS_PAGE, 2);
const munmap: Body = (_world, { machine, mm }) => doMunmap(machine, mm, ADDRESS, PAGE_BYTES);

/** This space's store copies the page; then the frame is the child's alone, which stores to it. */
function* storeInBoth({ child }: World, harness: HmmHarness): Task<void> {
  yield* new HarnessCpu(harness).store(ADDRESS, 1);
  const ofChild = new HarnessCpu(harness, Mm.at(harness.machine.memory, child));
  yield* ofChild.store(ADDRESS + 4, 9);
}

function without(left: number, body: Body): Body {
  return (world, harness) => withoutFlush(left, body(world, harness));
}

/** Each record that was seen is one of `allowed`. */
function onlySaw(...allowed: readonly (readonly number[])[]): (world: World) => void {
  const texts = new Set(allowed.map(String));
  return ({ seen }) => {
    for (const record of seen)
      if (!texts.has(String(record))) bug(`A record gave ${record.join(", ")}`);
  };
}

/** What lies in one page is from before the change or from after it; the two pages are two. */
function bothPiecesWhole({ seen }: World): void {
  for (const [a, b, c, d] of seen) {
    if (`${a},${b}` !== String(BEFORE) && `${a},${b}` !== String(ZEROS))
      bug(`The piece in the first page gave ${a}, ${b}`);
    if (`${c},${d}` !== String(BEFORE) && `${c},${d}` !== String(ZEROS))
      bug(`The piece in the second page gave ${c}, ${d}`);
  }
}

const LOAD = ["mmu/widths/u32-access.loadInto", "mmu/widths/u32-access.#loadPieces"] as const;

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly pages?: number;
  readonly address?: number;
  readonly isForked?: boolean;
  readonly exploration?: ScenarioExploration;
  readonly tasks: HarnessTasks<World>;
  readonly check: (world: World) => void;
  readonly twins: readonly HarnessTwin<World>[];
}

function made({
  name,
  summary,
  pages = 1,
  address = ADDRESS,
  isForked = false,
  exploration,
  ...parts
}: Parts): Covered {
  return coveringOnHarness<World>({
    layer: "mmu",
    name,
    summary,
    harness: { pages },
    ...(exploration === undefined ? {} : { exploration }),
    setup(harness) {
      const cpu = new HarnessCpu(harness);
      for (let i = 0; i < 2 * pages; i++)
        harness.run(cpu.store(address + 4 * i, BEFORE[i % BEFORE.length]!));
      const child = isForked ? harness.run(doFork(harness.machine, harness.mm)) : 0;
      return { seen: [], child };
    },
    reopen: ({ seen }) => void (seen.length = 0),
    ...parts,
  });
}

function wordByWordTwin(address?: number, words?: number): HarnessTwin<World> {
  return [
    "word-by-word",
    "The words are loaded one by one.",
    "assertion",
    { load: loading(wordByWord, address, words) },
  ];
}

const CHECKED_BEFORE: HarnessTwin<World> = [
  "checked-before",
  "The generation is checked before the words are read.",
  "assertion",
  { load: loading(checkedBefore) },
];

export const records: readonly Covered[] = [
  made({
    name: "record-vs-discard",
    summary: "A thread loads a record while its page is discarded: all of it is old, or all new.",
    tasks: {
      load: [LOAD, loading(inOneGo)],
      discard: [["sync/primitives/shootdown.flush"], discard],
    },
    check: onlySaw(BEFORE, ZEROS),
    twins: [
      wordByWordTwin(),
      CHECKED_BEFORE,
      [
        "without-flush",
        "The page is discarded without a flush.",
        "assertion",
        { discard: without(1, discard) },
      ],
    ],
  }),
  made({
    name: "record-vs-munmap",
    summary:
      "A thread loads a record while its page is unmapped: all of it is there, or it faults.",
    tasks: {
      load: [LOAD, loading(inOneGo)],
      munmap: [["mm/calls/munmap.doMunmap"], munmap],
    },
    check: onlySaw(BEFORE, []),
    twins: [CHECKED_BEFORE],
  }),
  made({
    name: "record-vs-copy-on-write",
    summary:
      "A thread loads a record while a store copies the page, and the old frame is written by the child that has it now: nothing of the child is seen.",
    isForked: true,
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: {
      load: [LOAD, loading(inOneGo)],
      store: [["mm/fault/copy-on-write.writeProtectedPrivate"], storeInBoth],
    },
    check: onlySaw(BEFORE, [1, BEFORE[1]]),
    twins: [CHECKED_BEFORE],
  }),
  made({
    name: "record-across-pages-vs-discard",
    summary:
      "A thread loads a record that crosses the border of two pages while both are discarded: each piece is all old, or all new.",
    pages: 2,
    address: ACROSS,
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: {
      load: [LOAD, loading(inOneGo, ACROSS, 4)],
      discard: [["sync/primitives/shootdown.flush"], discardBoth],
    },
    check: bothPiecesWhole,
    twins: [wordByWordTwin(ACROSS, 4)],
  }),
];

/**
 * @module Sections of stores, and invalidators that wait for them (S3 and S4 of
 * sync/primitives/shootdown.ts), access by access: a thread in a section lets go when it is asked
 * to, whether it stores or only loads, and wakes all that wait. It is not asked for the sake of
 * another space. And what flushes and marks are to an explorer that takes them as steps.
 */

import { Cell, Places } from "../../../../src/checker/primitives/program.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import {
  AGENT_ASKED,
  AGENT_INSIDE,
  MARK_INSIDE,
  agentRecord,
} from "../../../../src/sync/control-block.ts";
import { assert } from "../../../../src/sync/errors.ts";
import {
  GENERATIONS,
  Shootdown,
  enterSection,
  leaveSection,
  letGoIfAsked,
} from "../../../../src/sync/primitives/shootdown.ts";
import { writeWord } from "../../../../src/sync/primitives/word-steps.ts";
import { callInSteps, runInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { MarkKeeper, SharedMemory } from "../../../../src/sync/shared-memory.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { covering } from "../covered.ts";
import type { Covered } from "../covered.ts";

/** To the end, and nobody looks again by itself. */
const UNDISTURBED: ScenarioExploration = { spelledOut: true, timeouts: 0, spuriousWakes: 0 };
/** The thread in the section: that of the first task. */
const HOLDER = 1;
const PAGE = 5;

/** A section as mmu/store-mark.ts has one, without pages. */
class Keeper implements MarkKeeper {
  readonly #memory: SharedMemory;

  constructor(memory: SharedMemory) {
    this.#memory = memory;
  }

  letGo(): void {
    leaveSection(this.#memory);
  }

  *letGo$steps(): Task<void> {
    yield* runInSteps(leaveSection, this.#memory);
  }
}

interface Sections {
  readonly memory: SharedMemory;
  readonly space: Shootdown;
  readonly otherSpace: Shootdown;
  readonly inside: Cell;
  readonly asked: Cell;
  readonly epoch: Cell;
  readonly generation: Cell;
  readonly flushed: Cell;
}

function sections(memory: SharedMemory): Sections {
  const places = new Places(memory);
  const space = new Shootdown(memory, places.take(Shootdown.WORDS));
  const otherSpace = new Shootdown(memory, places.take(Shootdown.WORDS));
  const record = agentRecord(HOLDER);
  return {
    memory,
    space,
    otherSpace,
    inside: new Cell(memory, record + AGENT_INSIDE, "store mark"),
    asked: new Cell(memory, record + AGENT_ASKED, "asked"),
    epoch: new Cell(memory, space.at + GENERATIONS, "epoch"),
    generation: new Cell(memory, space.generationWord(PAGE), "generation"),
    flushed: places.cell("flushed"),
  };
}

function* enter({ memory, space }: Sections): Task<void> {
  yield* runInSteps(enterSection, memory, space.at, new Keeper(memory));
}

function isInside({ inside }: Sections): boolean {
  return (inside.peek() & MARK_INSIDE) !== 0;
}

/** In a section until somebody asks, and then once more. */
function* storeUntilAsked(shared: Sections): Task<void> {
  const { memory, asked } = shared;
  yield* enter(shared);
  yield* asked.waitWhile(0);
  yield* runInSteps(letGoIfAsked, memory);
  assert(!isInside(shared), "the thread was asked, and is still in its section");
}

/** As a section that only loads: it looks whether it is asked when it finds a new epoch. */
function* loadUntilAsked(shared: Sections): Task<void> {
  const { memory, epoch } = shared;
  yield* enter(shared);
  for (let seen = 0; isInside(shared);) {
    seen = yield* epoch.waitWhile(seen);
    yield* runInSteps(letGoIfAsked, memory);
  }
}

function* flush({ space, flushed, inside }: Sections): Task<void> {
  const before = yield* inside.load();
  yield* yield* callInSteps(space, "flush", PAGE, PAGE + 1);
  const now = yield* inside.load();
  const isSame = now === before && (before & MARK_INSIDE) !== 0;
  assert(!isSame, "the section goes on that was there when the flush began");
  yield* flushed.fetchAdd(1);
}

/** Once the section has begun. */
function* flushWhileInside(shared: Sections): Task<void> {
  yield* shared.inside.waitWhile(0);
  yield* flush(shared);
}

/** Broken: raises the generation and the epoch, waits, and asks nobody. */
function* flushUnasked({ generation, epoch, inside }: Sections): Task<void> {
  yield* inside.waitWhile(0);
  yield* generation.fetchAdd(1);
  yield* epoch.fetchAdd(1);
  const mark = yield* inside.load();
  if ((mark & MARK_INSIDE) !== 0) yield* inside.waitWhile(mark);
}

const ENTER = "sync/primitives/shootdown.enterSection";
const LEAVE = ["sync/primitives/shootdown.leaveSection", "sync/primitives/shootdown.letGoIfAsked"];
const FLUSH = [
  "sync/primitives/shootdown.flush",
  "sync/primitives/shootdown.bump",
  "sync/primitives/shootdown.mustWaitFor",
] as const;
const ASK = [
  "sync/primitives/shootdown.waitForStores",
  "sync/primitives/shootdown.askToLetGo",
] as const;

const unasked = {
  name: "unasked",
  summary: "The invalidator does not ask.",
  expects: "deadlock",
  tasks: { flusher: flushUnasked },
} as const;

/** A thread in a section from the beginning on, that leaves it when it is asked. */
function asking(name: string, summary: string, holder: (shared: Sections) => Task<void>): Covered {
  return covering<Sections>({
    layer: "sync",
    name: `section/${name}`,
    summary,
    exploration: UNDISTURBED,
    setup: sections,
    reopen: sections,
    tasks: {
      holder: { runs: [ENTER, ...LEAVE], body: holder },
      flusher: { runs: [...FLUSH, ...ASK], body: flushWhileInside },
    },
    check: (shared) => {
      assert(!isInside(shared), "the thread is still in its section");
      assert(shared.asked.peek() === 0, "the thread has let go, and is still asked to");
    },
    twins: [unasked],
  });
}

const several = covering<Sections>({
  layer: "sync",
  name: "section/two-ask",
  summary: "Two wait for one section: the thread wakes both when it lets go.",
  exploration: { ...UNDISTURBED, engine: "bounded", preemptions: 1 },
  setup: sections,
  reopen: sections,
  tasks: {
    holder: { runs: [ENTER, ...LEAVE], body: storeUntilAsked },
    one: { runs: [...FLUSH, ...ASK], body: flushWhileInside },
    other: { runs: [...FLUSH, ...ASK], body: flushWhileInside },
  },
  check: ({ flushed }) => assert(flushed.peek() === 2, "a flush is not over"),
});

const ofOther = covering<Sections>({
  layer: "sync",
  name: "section/of-other-space",
  summary: "A section goes on while another space is invalidated, and waits for that itself.",
  exploration: UNDISTURBED,
  setup: sections,
  reopen: sections,
  tasks: {
    holder: {
      runs: [ENTER, "sync/primitives/shootdown.leaveSection"],
      *body(shared) {
        yield* enter(shared);
        yield* shared.flushed.waitWhile(0);
        yield* runInSteps(leaveSection, shared.memory);
      },
    },
    flusher: {
      runs: FLUSH,
      *body({ otherSpace, inside, flushed }) {
        yield* inside.waitWhile(0);
        yield* yield* callInSteps(otherSpace, "flush", PAGE, PAGE + 1);
        yield* flushed.store(1);
      },
    },
  },
  twins: [
    {
      name: "own-space",
      summary: "It is its own space that is invalidated.",
      expects: "lost-wakeup",
      tasks: {
        flusher: flushWhileInside,
      },
    },
  ],
});

const bumped = covering<Sections>({
  layer: "sync",
  name: "section/epoch",
  summary: "Who finds a new epoch finds the new generation.",
  exploration: UNDISTURBED,
  setup: sections,
  reopen: sections,
  tasks: {
    reader: {
      runs: [],
      *body({ epoch, generation }) {
        const seen = yield* epoch.load();
        assert(seen === (yield* generation.load()) || seen === 0, "the generation comes later");
      },
    },
    flusher: { runs: FLUSH, body: flush },
  },
  twins: [
    {
      name: "epoch-first",
      summary: "The epoch is raised before the generation.",
      expects: "assertion",
      tasks: {
        *flusher({ epoch, generation }) {
          yield* epoch.fetchAdd(1);
          yield* generation.fetchAdd(1);
        },
      },
    },
  ],
});

/** Taken as steps: what a task announces has not happened before its step. */
const announced = covering<Sections>({
  layer: "sync",
  name: "section/announced",
  summary: "A mark, a flush and a store of a word, each as a step, in any order with another.",
  setup: sections,
  reopen: sections,
  tasks: {
    marker: {
      runs: ["sync/primitives/shootdown.markExplored"],
      *body({ space }) {
        yield* space.enterStore();
        yield* space.leaveStore();
      },
    },
    flusher: {
      runs: ["sync/primitives/shootdown.flushExplored"],
      body: ({ space }) => space.flush(PAGE, PAGE + 1),
    },
    writer: {
      runs: ["sync/primitives/word-steps.writeWord", "sync/primitives/word-steps.writeExplored"],
      body: ({ memory, flushed }) => writeWord(memory, flushed.at, 1, "word"),
    },
  },
  check: (shared) => {
    const words = [shared.epoch, shared.generation, shared.flushed].map((cell) => cell.peek());
    assert(words.join() === "1,1,1" && !isInside(shared), `the words are ${words.join()}`);
  },
  twins: [
    {
      name: "marked-late",
      summary: "It is said to be inside before anybody looks.",
      expects: "assertion",
      tasks: {
        *flusher(shared) {
          assert(((yield* shared.inside.load()) & MARK_INSIDE) !== 0, "nobody is inside yet");
        },
      },
    },
    {
      name: "flushed-late",
      summary: "The generation is said to be raised before anybody looks.",
      expects: "assertion",
      tasks: {
        *marker({ generation }) {
          assert((yield* generation.load()) !== 0, "the generation is not raised yet");
        },
      },
    },
    {
      name: "written-late",
      summary: "The word is said to be stored before anybody looks.",
      expects: "assertion",
      tasks: {
        *marker({ flushed }) {
          assert((yield* flushed.load()) !== 0, "the word is not stored yet");
        },
      },
    },
  ],
});

export const sectionsAsked: readonly Covered[] = [
  asking("asked-storing", "A thread that stores lets go when it is asked to.", storeUntilAsked),
  asking(
    "asked-loading",
    "A thread that only loads learns by the epoch that it is asked.",
    loadUntilAsked,
  ),
  several,
  ofOther,
  bumped,
  announced,
];

/**
 * @module Memory runs out in the middle of an operation: before each of its allocations, of
 * kernel heap and of frames, in one execution. Who is told ENOMEM has lost nothing and holds
 * nothing; when there is memory again the same call does what it would have done; and when the
 * space has gone, nothing is left.
 */

import {
  HmmHarness,
  HARNESS_PAGE,
  type HarnessOptions,
  harnessScenario,
} from "../../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import type { Mm } from "../../../src/mm/mm-struct.ts";
import { mmput } from "../../../src/mm/lifetime/mm.ts";
import { notifierSrcu } from "../../../src/notifier/mmu-notifier.ts";
import { EMFILE, ENOMEM } from "../../../src/sync/errno.ts";
import { assert } from "../../../src/sync/errors.ts";
import {
  addResource,
  listedResources,
  removeResource,
  resourceKind,
} from "../../../src/sync/lockdep/resources.ts";
import type { SharedMemory } from "../../../src/sync/shared-memory.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import type { Covered, Layer } from "./covered.ts";
import { type Telling, mapped, spaceState } from "./space-state.ts";

/** Something that allocates. */
export interface Attempt<S> {
  readonly layer: Layer;
  readonly name: string;
  readonly summary: string;
  readonly runs: readonly string[];
  readonly harness?: HarnessOptions;
  readonly setup: (harness: HmmHarness) => S;
  /** Negative: an errno. */
  readonly act: (harness: HmmHarness, shared: S) => Task<number>;
  /**
   * Of the state beside the space's own, what must be as before too; and what `act` made, given its
   * answer.
   */
  readonly also?: (harness: HmmHarness, shared: S, answer: number) => string;
  /** The child that it made, or that was there. */
  readonly childOf?: (harness: HmmHarness, shared: S, answer: number) => Mm;
  /** Gives back what a successful `act` answered. */
  readonly undo?: (harness: HmmHarness, shared: S, answer: number) => Task<unknown>;
  /**
   * What is mapped when it is done, as `mapped` tells it, by pages from HARNESS_PAGE on. Default:
   * as before.
   */
  readonly wanted?: string;
  /** What of the state ENOMEM may change after all. */
  readonly telling?: Telling;
}

const ROOM: HarnessOptions = { pages: 0, arenaWords: 16_384, frames: 16, shortage: true };

/** What the attempt comes to with memory enough, on a machine of its own. */
interface Model {
  readonly after: string;
  readonly accounting: string;
}

function modelOf<S>({ harness: room, setup, act, also, undo }: Attempt<S>, tasks: number): Model {
  const harness = new HmmHarness(tasks, { ...ROOM, ...room });
  const shared = setup(harness);
  const answer = harness.run(act(harness, shared));
  assert(answer >= 0, `with memory enough the answer is ${answer}`);
  const after = `${spaceState(harness)}\n${also?.(harness, shared, answer) ?? ""}`;
  harness.run(leave(harness, undo?.(harness, shared, answer)));
  return { after, accounting: harness.accounting() };
}

/** The space goes, after `undoing`, and its top table with it. */
export function* leave({ machine, mm }: HmmHarness, undoing?: Task<unknown>): Task<void> {
  const topTables = (): number =>
    machine.heap.accounting().find(({ name }) => name === "words4096")?.live ?? 0;
  if (undoing !== undefined) yield* undoing;
  const { memory } = machine;
  assert(
    listedResources(memory, memory.record).length === 0,
    "the thread is still said to own something",
  );
  const before = topTables();
  yield* mmput(machine, mm);
  assert(topTables() === before - 1, "the space's top table is still there");
  yield* (yield* notifierSrcu(machine)).barrier();
}

/** What a space is made of, and its frames. */
export function requireNothingLeft({ machine }: HmmHarness): void {
  assert(machine.ram.usage().usedPages === 0, `${machine.ram.usage().usedPages} frames are left`);
  const left = machine.heap
    .accounting()
    .filter(({ name }) => /^(mm|vma|viewHold|viewWatch|pageCache|words512|words2048)$/.test(name));
  assert(
    left.length === 0,
    `left behind: ${left.map(({ name, live }) => `${live} ${name}`).join(", ")}`,
  );
}

interface World<S> {
  readonly shared: S;
  readonly model: Model;
}

type Behaviour<S> = (attempt: Attempt<S>, harness: HmmHarness, shared: S) => Task<number>;

const sound = <S>({ act }: Attempt<S>, harness: HmmHarness, shared: S): Task<number> =>
  act(harness, shared);

function* tryTwice<S>(
  attempt: Attempt<S>,
  harness: HmmHarness,
  { shared, model }: World<S>,
  act: Behaviour<S>,
): Task<void> {
  const { also, undo, telling } = attempt;
  const { wanted = mapped(harness, HARNESS_PAGE) } = attempt;
  const state = (): string =>
    `${spaceState(harness, harness.mm, telling)}\n${also?.(harness, shared, ENOMEM) ?? ""}`;
  const before = state();
  let answer = yield* act(attempt, harness, shared);
  if (answer === ENOMEM) requireSame("after ENOMEM", state(), before);
  yield* harness.shortage.end();
  if (answer === ENOMEM) answer = yield* act(attempt, harness, shared);
  assert(answer >= 0, `the answer was ${answer}`);
  const after = `${spaceState(harness)}\n${also?.(harness, shared, answer) ?? ""}`;
  requireSame("when it is done", mapped(harness, HARNESS_PAGE), wanted);
  requireSame("when it is done", after, model.after);
  yield* leave(harness, undo?.(harness, shared, answer));
  requireNothingLeft(harness);
}

/** Names the lines that differ. */
function requireSame(when: string, is: string, wanted: string): void {
  if (is === wanted) return;
  const [has, wants] = [is.split("\n"), wanted.split("\n")];
  const more = has.filter((line) => !wants.includes(line));
  const fewer = wants.filter((line) => !has.includes(line));
  assert(
    false,
    `${when} there is ${more.join("; ") || "nothing"} instead of ${fewer.join("; ") || "nothing"}`,
  );
}

function requireModelAccounting({ model }: World<unknown>, harness: HmmHarness): void {
  requireSame(
    "in the end",
    harness.accounting().replaceAll(", ", "\n"),
    model.accounting.replaceAll(", ", "\n"),
  );
}

/** Of something that is nobody's to release. */
const FILLER: number = resourceKind("filler");

const fill = (memory: SharedMemory): number => addResource(memory, FILLER, 0);

function make<S>(
  attempt: Attempt<S>,
  name: string,
  act: Behaviour<S>,
  isTwin: boolean,
): AnyScenario {
  return harnessScenario<World<S>>({
    name,
    summary: attempt.summary,
    ...(isTwin ? { expects: "assertion" } : {}),
    harness: { ...ROOM, ...attempt.harness },
    exploration: { maxSteps: 40_000 },
    setup: (harness) => ({ shared: attempt.setup(harness), model: modelOf(attempt, 2) }),
    tasks: {
      shortage: (_world, harness) => harness.shortage.begin(),
      thread: (world, harness) => tryTwice(attempt, harness, world, act),
    },
    check: requireModelAccounting,
  });
}

/** A thread that owns as much as a thread can is told EMFILE, and that is all. */
function* tryCrowded<S>(
  { act, also, undo }: Attempt<S>,
  harness: HmmHarness,
  { shared, model }: World<S>,
): Task<void> {
  const { memory } = harness.machine;
  const filler: number[] = [];
  for (let slot = fill(memory); slot >= 0; slot = fill(memory)) filler.push(slot);
  const state = (answer: number): string =>
    `${spaceState(harness)}\n${also?.(harness, shared, answer) ?? ""}`;
  const before = state(EMFILE);
  const refused = yield* act(harness, shared);
  assert(refused === EMFILE, `a thread that owns too much is answered ${refused}`);
  requireSame("after EMFILE", state(EMFILE), before);
  for (const slot of filler) removeResource(memory, slot);
  const answer = yield* act(harness, shared);
  assert(answer >= 0, `the answer was ${answer}`);
  requireSame("when it is done", state(answer), model.after);
  yield* leave(harness, undo?.(harness, shared, answer));
}

/** The attempt by a thread that owns too much. */
export function crowded<S>(attempt: Attempt<S>): Covered {
  const { layer, name, runs } = attempt;
  const scenario = harnessScenario<World<S>>({
    name: `coverage/${layer}/no-place/${name}`,
    summary: attempt.summary,
    harness: { ...ROOM, ...attempt.harness },
    exploration: { maxSteps: 40_000 },
    setup: (harness) => ({ shared: attempt.setup(harness), model: modelOf(attempt, 1) }),
    tasks: { thread: (world, harness) => tryCrowded(attempt, harness, world) },
    check: requireModelAccounting,
  });
  return { layer, scenario, twins: [], runs: { thread: runs } };
}

/** The attempt as a scenario, and beside it one that goes wrong. */
export function attempted<S>(
  attempt: Attempt<S>,
  twin?: { readonly name: string; readonly act: Behaviour<S> },
): Covered {
  const { layer, runs } = attempt;
  const name = `coverage/${layer}/no-memory/${attempt.name}`;
  const twins = twin === undefined ? [] : [make(attempt, `${name}/${twin.name}`, twin.act, true)];
  return { layer, scenario: make(attempt, name, sound, false), twins, runs: { thread: runs } };
}

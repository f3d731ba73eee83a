/**
 * @module Memory runs out in the middle of an operation: before each of its allocations, of
 * kernel heap and of frames, in one execution. Who is told ENOMEM has lost nothing and holds
 * nothing; when there is memory again the same call does what it would have done; and when the
 * space has gone, nothing is left.
 */

import {
  HmmRig,
  RIG_PAGE,
  type RigOptions,
  rigScenario,
} from "../../../src/checker/rig/hmm-rig.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import type { Mm } from "../../../src/mm/mm-struct.ts";
import { mmput } from "../../../src/mm/mm.ts";
import { notifierSrcu } from "../../../src/notifier/mmu-notifier.ts";
import { EMFILE, ENOMEM } from "../../../src/sync/errno.ts";
import { assert } from "../../../src/sync/errors.ts";
import {
  addResource,
  listedResources,
  removeResource,
  resourceKind,
} from "../../../src/sync/resources.ts";
import type { SharedMemory } from "../../../src/sync/shared-memory.ts";
import type { Task } from "../../../src/sync/task.ts";
import type { Covered, Layer } from "./covered.ts";
import { type Telling, mapped, spaceState } from "./space-state.ts";

/** Something that allocates. */
export interface Attempt<S> {
  readonly layer: Layer;
  readonly name: string;
  readonly summary: string;
  readonly runs: readonly string[];
  readonly rig?: RigOptions;
  readonly setup: (rig: HmmRig) => S;
  /** Negative: an errno. */
  readonly act: (rig: HmmRig, shared: S) => Task<number>;
  /**
   * Of the state beside the space's own, what must be as before too; and what `act` made, given its
   * answer.
   */
  readonly also?: (rig: HmmRig, shared: S, answer: number) => string;
  /** The child that it made, or that was there. */
  readonly childOf?: (rig: HmmRig, shared: S, answer: number) => Mm;
  /** Gives back what a successful `act` answered. */
  readonly undo?: (rig: HmmRig, shared: S, answer: number) => Task<unknown>;
  /**
   * What is mapped when it is done, as `mapped` tells it, by pages from RIG_PAGE on. Default: as
   * before.
   */
  readonly wanted?: string;
  /** What of the state ENOMEM may change after all. */
  readonly telling?: Telling;
}

const ROOM: RigOptions = { pages: 0, arenaWords: 16_384, frames: 16, shortage: true };

/** What the attempt comes to with memory enough, on a machine of its own. */
interface Model {
  readonly after: string;
  readonly books: string;
}

function modelOf<S>({ rig: room, setup, act, also, undo }: Attempt<S>, tasks: number): Model {
  const rig = new HmmRig(tasks, { ...ROOM, ...room });
  const shared = setup(rig);
  const answer = rig.run(act(rig, shared));
  assert(answer >= 0, `with memory enough the answer is ${answer}`);
  const after = `${spaceState(rig)}\n${also?.(rig, shared, answer) ?? ""}`;
  rig.run(leave(rig, undo?.(rig, shared, answer)));
  return { after, books: rig.books() };
}

/** The space goes, after `undoing`, and its top table with it. */
export function* leave({ machine, mm }: HmmRig, undoing?: Task<unknown>): Task<void> {
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
export function requireNothingLeft({ machine }: HmmRig): void {
  assert(machine.ram.usage().usedPages === 0, `${machine.ram.usage().usedPages} frames are left`);
  const left = machine.heap
    .accounting()
    .filter(({ name }) => /^(mm|vma|viewHold|viewWatch|shmem|words512|words2048)$/.test(name));
  assert(
    left.length === 0,
    `left behind: ${left.map(({ name, live }) => `${live} ${name}`).join(", ")}`,
  );
}

interface World<S> {
  readonly shared: S;
  readonly model: Model;
}

type Behaviour<S> = (attempt: Attempt<S>, rig: HmmRig, shared: S) => Task<number>;

const sound = <S>({ act }: Attempt<S>, rig: HmmRig, shared: S): Task<number> => act(rig, shared);

function* tryTwice<S>(
  attempt: Attempt<S>,
  rig: HmmRig,
  { shared, model }: World<S>,
  act: Behaviour<S>,
): Task<void> {
  const { also, undo, telling } = attempt;
  const { wanted = mapped(rig, RIG_PAGE) } = attempt;
  const state = (): string =>
    `${spaceState(rig, rig.mm, telling)}\n${also?.(rig, shared, ENOMEM) ?? ""}`;
  const before = state();
  let answer = yield* act(attempt, rig, shared);
  if (answer === ENOMEM) requireSame("after ENOMEM", state(), before);
  yield* rig.shortage.end();
  if (answer === ENOMEM) answer = yield* act(attempt, rig, shared);
  assert(answer >= 0, `the answer was ${answer}`);
  const after = `${spaceState(rig)}\n${also?.(rig, shared, answer) ?? ""}`;
  requireSame("when it is done", mapped(rig, RIG_PAGE), wanted);
  requireSame("when it is done", after, model.after);
  yield* leave(rig, undo?.(rig, shared, answer));
  requireNothingLeft(rig);
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

function requireModelBooks({ model }: World<unknown>, rig: HmmRig): void {
  requireSame("in the end", rig.books().replaceAll(", ", "\n"), model.books.replaceAll(", ", "\n"));
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
  return rigScenario<World<S>>({
    name,
    summary: attempt.summary,
    ...(isTwin ? { expects: "assertion" } : {}),
    rig: { ...ROOM, ...attempt.rig },
    exploration: { maxSteps: 40_000 },
    setup: (rig) => ({ shared: attempt.setup(rig), model: modelOf(attempt, 2) }),
    tasks: {
      shortage: (_world, rig) => rig.shortage.begin(),
      thread: (world, rig) => tryTwice(attempt, rig, world, act),
    },
    check: requireModelBooks,
  });
}

/** A thread that owns as much as a thread can is told EMFILE, and that is all. */
function* tryCrowded<S>(
  { act, also, undo }: Attempt<S>,
  rig: HmmRig,
  { shared, model }: World<S>,
): Task<void> {
  const { memory } = rig.machine;
  const filler: number[] = [];
  for (let slot = fill(memory); slot >= 0; slot = fill(memory)) filler.push(slot);
  const state = (answer: number): string =>
    `${spaceState(rig)}\n${also?.(rig, shared, answer) ?? ""}`;
  const before = state(EMFILE);
  const refused = yield* act(rig, shared);
  assert(refused === EMFILE, `a thread that owns too much is answered ${refused}`);
  requireSame("after EMFILE", state(EMFILE), before);
  for (const slot of filler) removeResource(memory, slot);
  const answer = yield* act(rig, shared);
  assert(answer >= 0, `the answer was ${answer}`);
  requireSame("when it is done", state(answer), model.after);
  yield* leave(rig, undo?.(rig, shared, answer));
}

/** The attempt by a thread that owns too much. */
export function crowded<S>(attempt: Attempt<S>): Covered {
  const { layer, name, runs } = attempt;
  const scenario = rigScenario<World<S>>({
    name: `coverage/${layer}/no-place/${name}`,
    summary: attempt.summary,
    rig: { ...ROOM, ...attempt.rig },
    exploration: { maxSteps: 40_000 },
    setup: (rig) => ({ shared: attempt.setup(rig), model: modelOf(attempt, 1) }),
    tasks: { thread: (world, rig) => tryCrowded(attempt, rig, world) },
    check: requireModelBooks,
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

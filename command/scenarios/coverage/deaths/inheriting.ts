/**
 * @module A thread has died, and another that releases what it owned dies, too, at any step: what
 * is left is the second one's, and who finds that dead goes on (`registerHeir` of
 * sync/lockdep/resources.ts). Each thing is released once, and at the end nothing is lost.
 */

import { type HmmHarness, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import { Cell } from "../../../../src/checker/primitives/program.ts";
import type { FindingKind } from "../../../../src/checker/findings/finding.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { notifierSrcu } from "../../../../src/notifier/mmu-notifier.ts";
import { agentRecord } from "../../../../src/sync/control-block.ts";
import { reapTask } from "../../../../src/sync/death/reaper.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { listedResources } from "../../../../src/sync/lockdep/resources.ts";
import { selectAgent } from "../../../../src/sync/runners/agents.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered, Layer } from "../covered.ts";
import type { HarnessBody } from "../on-harness.ts";

interface World<P> {
  /** What there is without what the dead thread owned. */
  readonly accounting: string;
  /** 1 when that thread has come to its end. */
  readonly lives: Cell;
  /** The word that counts those of the others that have. Only `check` looks at it. */
  readonly reapedAt: number;
  readonly prepared: P;
}

type Body = HarnessBody<World<unknown>>;

/** The thread of the first task, which owns something from the beginning on. */
const OWNER = 1;
const REAPERS = 2;

/** What was freed when nobody looks any more is free by now. */
function* settled(harness: HmmHarness): Task<string> {
  const { machine, mm } = harness;
  yield* (yield* notifierSrcu(machine)).barrier();
  const { ram } = machine;
  const { references, pins } = ram.refs.total();
  const counts = `${references} references, ${pins} pins, ${mm.users.read()} users`;
  return `${harness.accounting()}, ${ram.sections.handles.length} sections, ${counts}`;
}

/** What a thread owns that dies, and what is there beside it. */
export interface Inherited<P> {
  readonly name: string;
  readonly summary: string;
  /** Pages of the space. Default 1. */
  readonly pages?: number;
  /** Run before; what it answers is for `own` and `settles`. */
  readonly prepare: (harness: HmmHarness) => P;
  /** In the name of the thread that dies. */
  readonly own: (harness: HmmHarness, prepared: P) => void;
  /**
   * What holds besides, when all is released; gives back what the releases leave to others. All
   * `survived`: nobody has died but the owner.
   */
  readonly settles?: (harness: HmmHarness, prepared: P, survived: boolean) => Task<void>;
}

function makeWorld<P>(harness: HmmHarness, { prepare, own }: Inherited<P>): World<P> {
  const { memory, heap } = harness.machine;
  const prepared = prepare(harness);
  const cells = harness.run(heap.allocWords(512));
  const lives = new Cell(memory, cells, "lives");
  const accounting = harness.run(settled(harness));
  const self = memory.agentId;
  selectAgent(memory, OWNER);
  own(harness, prepared);
  selectAgent(memory, self);
  return { accounting, lives, reapedAt: cells + 1, prepared };
}

const owns: Body = ({ lives }) => lives.store(1);

const reaps: Body = function* ({ reapedAt }, { machine: { memory } }) {
  yield* reapTask(memory);
  memory.words[reapedAt]! += 1;
};

/** Nothing is lost, and nobody's list has anything. */
function check<P>(
  { accounting, lives, reapedAt, prepared }: World<P>,
  harness: HmmHarness,
  { settles }: Inherited<P>,
): void {
  if (lives.peek() === 1) return;
  const { memory } = harness.machine;
  const survived = memory.words[reapedAt] === REAPERS;
  const left = harness.runAfterwards(
    (function* (): Task<string> {
      if (settles !== undefined) yield* settles(harness, prepared, survived);
      return yield* settled(harness);
    })(),
  );
  assert(left === accounting, `there was ${accounting}; and now there is ${left}`);
  for (let agentId = OWNER; agentId <= OWNER + REAPERS; agentId++) {
    const listed = listedResources(memory, agentRecord(agentId));
    assert(listed.length === 0, `thread ${agentId} still owns ${listed.join(", ")}`);
  }
}

export function inheritance<P>(parts: Inherited<P>, expects?: FindingKind): AnyScenario {
  const { name, summary, pages = 1 } = parts;
  return harnessScenario<World<P>>({
    name,
    summary,
    ...(expects === undefined ? {} : { expects }),
    harness: { pages, arenaWords: 16_384, frames: 24 },
    exploration: { engine: "bounded", preemptions: 0, deaths: 2 },
    killable: ["owner", "reaps"],
    mustSurvive: true,
    mayRemain: "anything",
    setup: (harness) => makeWorld(harness, parts),
    tasks: { owner: owns, reaps, next: reaps },
    check: (world, harness) => check(world, harness, parts),
  });
}

/** `runs`: what the releases run. The name is without `coverage/<layer>/death/heirs-of-`. */
export function inheriting<P>(
  layer: Layer,
  { runs, ...parts }: Inherited<P> & { readonly runs: readonly string[] },
  twins: (name: string) => readonly AnyScenario[] = () => [],
): Covered {
  const name = `coverage/${layer}/death/heirs-of-${parts.name}`;
  return {
    layer,
    scenario: inheritance({ ...parts, name }),
    twins: twins(name),
    runs: { reaps: ["sync/death/reaper.reapTask", ...runs], next: [], owner: [] },
  };
}

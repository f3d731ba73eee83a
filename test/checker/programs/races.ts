/**
 * @module Small programs on which source-DPOR begins executions that it has to give up, from the
 * tests of Concuerror and the paper on optimal DPOR; and readers whose writer comes first or last,
 * for delay bounds.
 */

import type { Cell, Places } from "../../../src/checker/primitives/program.ts";
import type { Scenario } from "../../../src/checker/scenario.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import { program } from "./program-of.ts";
import type { Body } from "./program-of.ts";

type Program = Scenario<unknown>;
type Cells = Readonly<Record<"v" | "w" | "x" | "y" | "z", Cell>>;

function cells(places: Places): Cells {
  const [v, w, x, y, z] = ["v", "w", "x", "y", "z"].map((name) => places.cell(name)) as [
    Cell,
    Cell,
    Cell,
    Cell,
    Cell,
  ];
  return { v, w, x, y, z };
}

type Name = keyof Cells;

/** Stores into each in turn, but only if `condition` is set. */
function sets(names: readonly Name[], condition?: Name): Body<Cells> {
  return function* (shared): Task<void> {
    if (condition !== undefined && (yield* shared[condition].load()) === 0) return;
    for (const name of names) yield* shared[name].store(1);
  };
}

/** Loads each in turn, as long as they are set. */
function* follow(shared: Cells, names: readonly Name[]): Task<void> {
  for (const name of names) if ((yield* shared[name].load()) === 0) return;
}

export function poplExample(): Program {
  const third: Body<Cells> = function* ({ y, z }) {
    if ((yield* y.load()) === 0) yield* z.store(1);
  };
  const fourth: Body<Cells> = function* ({ x, y, z }) {
    if ((yield* z.load()) === 1 && (yield* y.load()) === 0) yield* x.store(2);
  };
  return program("POPL example", cells, [sets(["x"]), sets(["y"]), third, fourth]);
}

export function combinationLock(): Program {
  const second: Body<Cells> = function* ({ w, x, y }) {
    yield* x.store(1);
    if ((yield* y.load()) === 1) yield* w.store(1);
  };
  const third: Body<Cells> = function* ({ v, x, y, z }) {
    if ((yield* x.load()) === 0) return;
    yield* y.store(1);
    if ((yield* v.load()) === 1) yield* z.load();
  };
  return program("combination lock", cells, [sets(["z"]), second, third, sets(["v"], "w")]);
}

export function sleepingRaces(): Program {
  const fourth: Body<Cells> = function* ({ y, z }) {
    yield* y.load();
    yield* z.store(1);
  };
  const fifth: Body<Cells> = (shared) => follow(shared, ["y", "z", "x", "w"]);
  return program("sleeping races", cells, [sets(["w"]), sets(["x"]), sets(["y"]), fourth, fifth]);
}

/** Each reader does something of its own first. */
export function readersInTurn(n: number, writerFirst: boolean): Program {
  const reader: Body<Cells> = function* ({ x, y }) {
    yield* y.load();
    yield* x.load();
  };
  const readers = Array.from({ length: n }, () => reader);
  const bodies = writerFirst ? [sets(["x"]), ...readers] : [...readers, sets(["x"])];
  return program(`readers(${n}), writer ${writerFirst ? "first" : "last"}`, cells, bodies);
}

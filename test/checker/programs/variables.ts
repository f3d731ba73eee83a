/**
 * @module The shared-variable programs of the counts: loads, stores and atomic updates of a few
 * words.
 */

import type { Cell, Places } from "../../../src/checker/primitives/program.ts";
import type { Scenario } from "../../../src/checker/scenario.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import { assume } from "./assume.ts";
import { program } from "./program-of.ts";
import type { Body } from "./program-of.ts";

type Program = Scenario<unknown>;
type Cells = Record<string, Cell>;

function cellsOf(...names: readonly string[]): (places: Places) => Cells {
  return (places) => Object.fromEntries(names.map((name) => [name, places.cell(name)]));
}

/** A body that loads ("x") and stores ("x=1") in order. */
function script(text: string): Body<Cells> {
  const steps = text.split(" ").map((step) => step.split("="));
  return function* (cells): Task<void> {
    for (const [name, value] of steps) {
      const cell = cells[name ?? ""]!; // the scripts below name only cells that they declare
      if (value === undefined) yield* cell.load();
      else yield* cell.store(Number(value));
    }
  };
}

function times<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

export function readers(n: number): Program {
  return program(`readers(${n})`, cellsOf("x"), [script("x=42"), ...times(n, () => script("x"))]);
}

export function lastzero(n: number): Program {
  const reader: Body<Cell[]> = function* (a) {
    for (let i = n; (yield* a[i]!.load()) !== 0; i--);
  };
  const writer = (j: number): Body<Cell[]> =>
    function* (a) {
      yield* a[j]!.store((yield* a[j - 1]!.load()) + 1);
    };
  return program(`lastzero(${n})`, (places) => places.cells("a", n + 1), [
    reader,
    ...times(n, (j) => writer(j + 1)),
  ]);
}

const SLOTS = 128;

export function indexerCas(n: number): Program {
  const body = (tid: number): Body<Cell[]> =>
    function* (table) {
      for (let m = 0; m < 4; m++) {
        const w = m * 11 + tid;
        for (let h = (w * 7) % SLOTS; !(yield* table[h]!.compareExchange(0, w));)
          h = (h + 1) % SLOTS;
      }
    };
  return program(`indexer-cas(${n})`, (places) => places.cells("table", SLOTS), times(n, body));
}

export function ainc(n: number): Program {
  return program(
    `ainc(${n})`,
    cellsOf("x"),
    times(n, () => (c: Cells) => c["x"]!.fetchAdd(1)),
  );
}

export function inc(n: number): Program {
  const body = (v: number): Body<Cells> =>
    function* (c) {
      yield* c["x"]!.store((yield* c["x"]!.load()) + v);
    };
  return program(`inc(${n})`, cellsOf("x"), times(n, body));
}

/** binc and cinc: each task increments every one of the cells, in order. */
export function increments(name: string, cells: readonly string[], n: number): Program {
  const body: Body<Cells> = function* (c) {
    for (const cell of cells) yield* c[cell]!.fetchAdd(1);
  };
  return program(
    `${name}(${n})`,
    cellsOf(...cells),
    times(n, () => body),
  );
}

export function cas(n: number): Program {
  return program(
    `cas(${n})`,
    cellsOf("x"),
    times(n, (i) => (c: Cells) => c["x"]!.compareExchange(0, i + 1)),
  );
}

export function casrot(n: number): Program {
  return program(
    `casrot(${n})`,
    cellsOf("x"),
    times(n, (i) => (c: Cells) => c["x"]!.compareExchange(i, i + 1)),
  );
}

export function casw(n: number): Program {
  const body = (i: number): Body<Cells> =>
    function* (c) {
      yield* c["x"]!.compareExchange(0, 1);
      yield* c["x"]!.store(i + 3);
    };
  return program(`casw(${n})`, cellsOf("x"), times(n, body));
}

export function wcas(n: number): Program {
  const compare: Body<Cells> = (c) => c["x"]!.compareExchange(2, 3);
  return program(`wcas(${n})`, cellsOf("x"), [script("x=2"), ...times(n, () => compare)]);
}

export function coa(n: number): Program {
  const others = times(n - 1, (i) => script(`y=${i} z=${i}`));
  return program(`CoA(${n})`, cellsOf("x", "y", "z"), [
    script("x=1 y x"),
    script("x=2 z x"),
    ...others,
  ]);
}

export function fib(n: number): Program {
  const adder = (to: string): Body<Cells> =>
    function* (c) {
      for (let i = 0; i < n; i++) {
        const p = yield* c["x"]!.load();
        const q = yield* c["y"]!.load();
        yield* c[to]!.store(p + q);
      }
    };
  const start = (places: Places): Cells => ({ x: places.cell("x", 1), y: places.cell("y", 1) });
  return program(`fib(${n})`, start, [adder("x"), adder("y"), script("x y")]);
}

export function sharedPtr(n: number): Program {
  const body = (own: string, other: string): Body<Cells> =>
    function* (c) {
      yield* c["p"]!.store(own === "x" ? 0 : 1);
      for (let i = 0; i < n; i++) yield* c[other]!.load();
      const target = (yield* c["p"]!.load()) === 0 ? c["x"]! : c["y"]!;
      yield* target.store((yield* target.load()) + 3);
    };
  return program(`SharedPtr(${n})`, cellsOf("p", "x", "y"), [body("y", "x"), body("x", "y")]);
}

export function publish(n: number): Program {
  const reader: Body<Cells> = function* (c) {
    for (let count = 0; (yield* c["flag"]!.load()) !== 1;) if (++count > n) return;
    yield* c["x"]!.load();
  };
  return program(`publish(${n})`, cellsOf("x", "flag"), [reader, script("x=42 flag=1")]);
}

/** N + 1 writers and a reader of one cell. */
export function nWriters(n: number): Program {
  return program(`N-writers(${n})`, cellsOf("x"), [
    script("x"),
    ...times(n + 1, (i) => script(`x=${i}`)),
  ]);
}

const bigCells: readonly string[] = ["x", "y", "z", "w"];
const bigScripts: readonly (readonly string[])[] = [
  ["x y z w x y z", "x y z", "x=1 y=1 x=2 y=2 x=3 y=3", "z=1 w=1 z=2 w=2 z=3 w=3"],
  ["x y z w x y z w", "x y z w x y", "x=1 y=1 x=2 y=2 x=3 y=3", "z=1 w=1 z=2 w=2 z=3 w=3"],
  ["x y z x y", "x y z x", "x=1 y=1 z=1 x=2 y=2 z=2", "x=3 y=3 z=3 x=4 y=4 z=4"],
];

export function big(which: number): Program {
  return program(`big${which}`, cellsOf(...bigCells), bigScripts[which]!.map(script));
}

/** N writers; a task that waits for all of them reads. */
export function lastwrite(n: number): Program {
  const last: Body<Cell[]> = function* (cells) {
    for (let i = 1; i <= n; i++) yield* cells[i]!.waitWhile(0);
    yield* cells[0]!.load();
  };
  const writer = (i: number): Body<Cell[]> =>
    function* (cells) {
      yield* cells[0]!.store(i + 1);
      yield* cells[i + 1]!.store(1);
    };
  return program(`lastwrite(${n})`, (places) => places.cells("x", n + 1), [
    last,
    ...times(n, writer),
  ]);
}

export function floatingRead(n: number): Program {
  return program(`floating_read(${n})`, cellsOf("x"), [
    script("x"),
    ...times(n, (i) => script(`x=${i + 1}`)),
  ]);
}

const isZero = (value: number): boolean => value === 0;

interface Lamport {
  readonly b: readonly Cell[];
  readonly x: Cell;
  readonly y: Cell;
  readonly never: Cell;
}

function* lamportLock({ b, x, y, never }: Lamport, id: number, n: number): Task<void> {
  for (;;) {
    yield* b[id]!.store(1);
    yield* x.store(id);
    if ((yield* y.load()) !== 0) {
      yield* b[id]!.store(0);
      yield* assume(y, isZero, never);
      continue;
    }
    yield* y.store(id);
    if ((yield* x.load()) === id) return;
    yield* b[id]!.store(0);
    for (let j = 1; j <= n; j++) yield* assume(b[j]!, isZero, never);
    if ((yield* y.load()) === id) return;
    yield* assume(y, isZero, never);
  }
}

export function lamport(n: number, withCritical: boolean): Program {
  const body = (i: number): Body<Lamport & { readonly critical: Cell }> =>
    function* (s) {
      yield* lamportLock(s, i + 1, n);
      if (withCritical) {
        yield* s.critical.store(i + 1);
        yield* s.critical.load();
      }
      yield* s.y.store(0);
      yield* s.b[i + 1]!.store(0);
    };
  const start = (places: Places): Lamport & { readonly critical: Cell } => ({
    b: places.cells("b", n + 1),
    x: places.cell("x"),
    y: places.cell("y"),
    never: places.cell("never"),
    critical: places.cell("critical"),
  });
  return program(`lamport(${n})`, start, times(n, body));
}

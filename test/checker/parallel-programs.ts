/** @module Programs that threads load by the address of this module. */

import type { AnyScenario } from "../../src/checker/scenario.ts";
import { Places } from "../../src/checker/primitives/program.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import * as locks from "./programs/locks.ts";
import { program } from "./programs/program-of.ts";
import * as variables from "./programs/variables.ts";
import * as waits from "./programs/waits.ts";

/** Ends the thread that explores it, as a crash of the host would. */
const exits: AnyScenario = {
  name: "exits",
  setup: (memory) => new Places(memory).cell("x"),
  tasks: {
    *first(): Task<void> {
      process.exit(7);
    },
  },
};

/** Depends on how often it ran. */
let runs = 0;
const fickle: AnyScenario = {
  name: "fickle",
  setup: (memory) => new Places(memory).cells("x", 9),
  tasks: Object.fromEntries(
    [0, 1, 2].map((task) => [
      `t${task}`,
      function* (cells): Task<void> {
        runs++;
        yield* (cells as ReturnType<Places["cells"]>)[0]!.fetchAdd(1);
        yield* (cells as ReturnType<Places["cells"]>)[runs % 7]!.store(1);
      },
    ]),
  ),
};

/** Updates get lost, and there is a deadlock besides. */
const faulty = program(
  "faulty",
  (places: Places) => ({ x: places.cell("x"), mutexes: places.mutexes("m", 2) }),
  [0, 1, 0].map(
    (first) =>
      function* ({ x, mutexes }): Task<void> {
        yield* x.store((yield* x.load()) + 1);
        yield* mutexes[first]!.lock();
        yield* mutexes[1 - first]!.lock();
        if (x.peek() === 1) throw new Error("an update was lost");
        yield* mutexes[1 - first]!.unlock();
        yield* mutexes[first]!.unlock();
      },
  ),
);

export const parallelPrograms: readonly AnyScenario[] = [
  exits,
  fickle,
  faulty,
  variables.readers(8),
  variables.lastzero(8),
  variables.fib(3),
  variables.fib(4),
  variables.fib(5),
  variables.casw(4),
  variables.coa(4),
  variables.inc(3),
  variables.lamport(2, false),
  locks.dispatcher(5, 2),
  locks.ssbexp(5),
  locks.mpat(3),
  locks.philosophers(5, false),
  locks.indexer(13),
  waits.cond(3, "broadcast", "once"),
  waits.waitEvent(2, 10),
  waits.handMade(2, true, Infinity),
];

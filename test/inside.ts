/**
 * @module What of an AddressSpace object tests and benches look into: its machine and its mm, and
 * tasks that run while it keeps the space alive.
 */

import type { Machine } from "../src/memory/machine.ts";
import type { Mm } from "../src/mm/mm-struct.ts";
import type { AddressSpace } from "../src/space/address-space.ts";
import { insideOf } from "../src/space/space-inside.ts";
import type { Task } from "../src/sync/tasks/task.ts";

export interface Inside {
  readonly machine: Machine;
  readonly mm: Mm;
  readonly run: <T>(task: Task<T>) => Promise<T>;
  readonly runSync: <T>(task: Task<T>) => T;
}

export function inside(space: AddressSpace): Inside {
  const { seat, hold } = insideOf(space);
  return {
    machine: seat.machine,
    mm: hold.mm,
    run: (task) => hold.run("run", () => task),
    runSync: (task) => hold.runSync("run", () => task),
  };
}

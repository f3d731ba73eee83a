/**
 * @module mm/fault/migration-entry
 * A touch of a page that is being moved: waits until its entry is another one. Follows Linux
 * `migration_entry_wait`. Who moves it holds the mmap lock for reading, as the one who waits does
 * (Y2 of migrate/migrate-vma.ts): neither needs it for writing, so nobody waits in a circle. If who
 * moves it has died, the one who waits ends the migration (Q2 of mm/migration.ts).
 */

import { atomicLoad } from "../../sync/atomics.ts";
import { deathsSoFar } from "../../sync/tasks/identity.ts";
import type { Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { endDeadMigrations } from "../migration.ts";
import type { VmFault } from "./vm-fault.ts";

/** Of a migration entry. 0: it has changed, and the access is tried again. */
export function* migrationEntryWait({ machine, mm, index, pte }: VmFault): Task<Errno> {
  const { memory } = machine;
  memory.ensure(index + 1);
  const hasChanged = (): boolean => atomicLoad(memory.words, index) !== pte;
  const reads = { at: index, words: 1 };
  for (;;) {
    const deaths = deathsSoFar(memory);
    if (deaths !== 0) yield* endDeadMigrations(machine, mm);
    if (yield* mm.migrations.waitEvent(hasChanged, Infinity, undefined, reads, deaths)) return 0;
  }
}

/** @module A migration flushes late, and a discard of the page in between does not. */

import { HarnessCpu } from "../../../src/checker/harness/harness-cpu.ts";
import type { HmmHarness } from "../../../src/checker/harness/hmm-harness.ts";
import { MADV_DONTNEED, doMadvise } from "../../../src/mm/calls/madvise.ts";
import { PAGE_BYTES, PTE_PRESENT, holdsFrame, ptePfn } from "../../../src/mm/pte.ts";
import { EVENT_CLEAR, invalidateRange } from "../../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../../src/notifier/mmu-notifier.ts";
import { atomicExchange } from "../../../src/sync/atomics.ts";
import { bug } from "../../../src/sync/errors.ts";
import { type Task, access } from "../../../src/sync/tasks/task.ts";
import { ADDRESS, type MigrationWorld, PAGE, toDevice } from "../coverage/mm/migrate-stage.ts";
import type { Exhibit } from "../exhibit.ts";
import { entryIndex, moving } from "./stage.ts";

/** Gives the page up; flushes only if its entry was present. */
function* discardPresent(harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  const { memory, ram } = machine;
  const range = invalidateRange(mm, PAGE, PAGE + 1, EVENT_CLEAR);
  yield* mm.mmapLock.downRead();
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  const index = entryIndex(harness);
  yield* access(memory, "update", index, 1, "pte");
  const pte = atomicExchange(memory.words, index, 0);
  if ((pte & PTE_PRESENT) !== 0) yield* mm.shootdown.flush(PAGE, PAGE + 1);
  if (holdsFrame(pte)) yield* ram.refs.pagePut(ptePfn(pte));
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
  yield* mm.mmapLock.upRead();
}

const discardShipped = ({ machine, mm }: HmmHarness): Task<number> =>
  doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_DONTNEED);

/** A thread reads the page, gives it up, and reads it again. */
function readsAgain(discard: (harness: HmmHarness) => Task<unknown>) {
  return function* ({ seen }: MigrationWorld, harness: HmmHarness): Task<void> {
    const cpu = new HarnessCpu(harness);
    yield* cpu.load(ADDRESS);
    yield* discard(harness);
    seen.push(yield* cpu.load(ADDRESS));
  };
}

function requireZero({ seen }: MigrationWorld): void {
  if (seen[0] !== 0) bug(`madvise has returned, and the page that was given up reads ${seen[0]}`);
}

export const lateFlush: Exhibit = {
  id: "moving/late-flush",
  title: "A page is given up while it moves, and can still be read",
  was: `
A migration first takes the page away from the CPU: each entry becomes a *migration entry*, and the
translations that CPU threads remember are flushed. Linux changed the entries under the lock of
their table, dropped that lock, and flushed after it: one flush for many entries.
`,
  wrong: `
Between the two, another thread takes the lock and gives the page up with \`madvise\`. It finds a
migration entry. Such an entry is not present, so it says that no CPU has a translation, and that
there is nothing to flush. The thread clears the entry and returns. Now \`madvise\` has promised that
the page reads as zeros. But the CPU still has the translation from before the migration, and reads
the old contents. A store would go to a frame that belongs to nobody.

"Not present" was taken for "flushed". It is true only after the flush.
`,
  now: `
There is no lock around entries here, so a flush cannot be put under one. Whoever clears an entry
flushes, whatever the entry was (\`src/mm/entries/zap.ts\`), and returns after that. The flush of the
migration comes in addition. A flush of a range of which nobody has a translation costs a few
words.
`,
  notes: `
Fixed in Linux in 2022 (60bae7370896): the flush moved under the lock.
`,
  before: [
    moving({
      name: "moving/late-flush/before",
      summary: "a thread gives a page up while another one moves it, and reads it again",
      expects: "assertion",
      tasks: { migrate: toDevice, discard: readsAgain(discardPresent) },
      check: requireZero,
    }),
  ],
  after: [
    moving({
      name: "moving/late-flush/after",
      summary: "the same, with the shipped madvise",
      tasks: { migrate: toDevice, discard: readsAgain(discardShipped) },
      check: requireZero,
    }),
  ],
};

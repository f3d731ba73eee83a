/**
 * @module Memory runs out, or the thread owns as much as a thread can, while one thread opens a
 * file, maps it, reads it, writes it back and begins to serve it.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { doMsync } from "../../../../src/mm/calls/msync.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { SourceServer } from "../../../../src/mm/source/serve.ts";
import { dropClaim, openSource } from "../../../../src/mm/source/source-table.ts";
import { PageCache, backingOf, cachePut } from "../../../../src/mm/vma/page-cache.ts";
import { sourceTable } from "../../../../src/mm/vma/source-list.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { type Attempt, attempted, crowded } from "../attempts.ts";
import type { Covered } from "../covered.ts";
import { ADDRESS, type StoreStage, makeStage, storeWord } from "./store-stage.ts";

interface Shared extends StoreStage {
  server: SourceServer | undefined;
}

type Parts = Pick<Attempt<Shared>, "name" | "summary" | "runs" | "act"> &
  Partial<Pick<Attempt<Shared>, "undo" | "setup" | "wanted">>;

const setup = (harness: HmmHarness): Shared => ({ ...makeStage(harness), server: undefined });

function* letGo({ cache }: StoreStage, { machine, mm }: HmmHarness): Task<void> {
  yield* doMunmap(machine, mm, ADDRESS, 8 * PAGE_BYTES);
  yield* cachePut(machine, cache);
}

/** What others see of the source. */
function sourceState({ machine }: HmmHarness, { cache }: Shared): string {
  const source = backingOf(machine, cache);
  const references = PageCache.at(machine.memory, cache).refs.read();
  return `${references} references, ${source?.servers} servers, ${source?.mappings} mappings, ${source?.dirtyPages} dirty`;
}

function onFile(parts: Parts): Attempt<Shared> {
  return {
    layer: "mm",
    setup,
    undo: (harness, shared) => letGo(shared, harness),
    also: sourceState,
    ...parts,
  };
}

const FILE = { device: 1n, inode: 2n, bornNs: 3n };

const opens: Attempt<undefined> = {
  layer: "mm",
  name: "file-open",
  summary: "A file is opened: a record of a source, and a cache.",
  runs: ["mm/source/source-table.openSource"],
  setup: (harness) => {
    harness.run(sourceTable(harness.machine));
    return undefined;
  },
  act: ({ machine }) => openSource(machine, { lengthBytes: 8, isWritable: true, file: FILE }),
  undo: ({ machine }, _shared, cache) => dropClaim(machine, cache),
};

function* serves({ machine }: HmmHarness, shared: Shared): Task<number> {
  const server = yield* SourceServer.begin(machine, shared.cache, shared.store);
  if (typeof server === "number") return server;
  shared.server = server;
  return 0;
}

function* stopsServing(harness: HmmHarness, shared: Shared): Task<void> {
  yield* doMunmap(harness.machine, harness.mm, ADDRESS, PAGE_BYTES);
  const { server } = shared;
  if (server !== undefined) assert((yield* server.end()) === 0, "the service does not end");
  yield* letGo(shared, harness);
}

function setupDirty(harness: HmmHarness): Shared {
  const shared = setup(harness);
  harness.run(storeWord(harness, 5));
  return shared;
}

const maps = onFile({
  name: "file-map",
  summary: "A file that is mapped is mapped a second time.",
  runs: ["mm/calls/mmap.doMmap", "mm/vma/source.addMapper"],
  act: ({ machine, mm }, { cache }) =>
    doMmap(machine, mm, {
      lengthBytes: PAGE_BYTES,
      address: ADDRESS + 4 * PAGE_BYTES,
      placement: MAP_FIXED_NOREPLACE,
      protection: VM_READ | VM_WRITE,
      shared: true,
      bufferPfn: 0,
      cache,
      offsetPages: 0,
    }),
  wanted: "0-1 rw shared: 0, 4-5 rw shared: 0",
});

const reads = onFile({
  name: "file-read",
  summary: "A page of a file is read for a load.",
  runs: ["mm/source/bring-in.bringIn", "mm/source/transfer.readPages"],
  act: ({ machine, mm }) => cpuFault(machine, mm, HARNESS_PAGE, false),
  wanted: "0-1 rw shared: 7",
});

const service = onFile({
  name: "file-serve",
  summary: "A thread begins to serve a file.",
  runs: ["mm/source/serve.begin"],
  act: serves,
  undo: stopsServing,
});

const writesBack = onFile({
  name: "file-msync",
  summary: "A dirty page of a file is written.",
  runs: ["mm/calls/msync.doMsync", "mm/source/write-back.syncPages"],
  setup: setupDirty,
  act: ({ machine, mm }) => doMsync(machine, mm, ADDRESS, PAGE_BYTES),
});

export const filesWithoutMemory: readonly Covered[] = [
  attempted(opens),
  attempted(service),
  attempted(maps),
  attempted(reads),
  attempted(writesBack),
  crowded(service),
  crowded(reads),
  crowded(writesBack),
];

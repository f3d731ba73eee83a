/**
 * @module Memory that is freed or reused while other threads may read it without a lock: who frees
 * it, who reads it, what keeps the two apart, and which scenarios and tests notice if nothing does.
 * A section of docs/INVARIANTS.md is made of this. Everything that it names must exist.
 */

import { existsSync } from "node:fs";

/**
 * @typedef {object} Freed
 * @property {string} what
 * @property {string} by Who frees it or uses it again.
 * @property {string} readers Who reads it without the lock under which that happens.
 * @property {string} apart What keeps them apart, with the labels of the rules.
 * @property {readonly string[]} proof Scenarios (with a twin each, or beside one that has), and
 *   test files.
 */

/** @type {Readonly<Record<string, readonly Freed[]>>} */
export const freed = {
  "Page tables and frames": [
    {
      what: "a leaf of a space's page table",
      by: "munmap and mremap (`freeEmptyLeaves`), the mmap lock held for writing",
      readers: "loads and stores of CPU threads (`walkForAccess`), `read` and `write` of a space",
      apart:
        "W1, W3 of mmu/radix-table.ts: unlinked, flushed, freed; X1 to X5 of mmu/soft-tlb.ts: the walk is believed only under the generation that was read before it; S1 of sync/primitives/shootdown.ts: a store that has begun is waited for",
      proof: [
        "coverage/mm/load-vs-munmap-of-leaf",
        "coverage/mm/store-vs-munmap-of-leaf",
        "coverage/mm/load-vs-mremap-of-leaf",
        "coverage/mm/load-vs-move-of-leaf",
        "test/mm/freed-leaf.test.ts",
      ],
    },
    {
      what: "the struct and the frame table of a device's memory",
      by: "the end of the device (`endDeviceMemory`), when no frame is used",
      readers: "faults, and migrations, that have read an entry which named a frame of it",
      apart:
        "F3 of mm/fault/vm-fault.ts: counted in a read section of the notifiers' SRCU, after the entry was seen there; the tables are freed a grace period after the section was removed. D2 of memory/frames/device-frames.ts",
      proof: [
        "coverage/mm/migrate/end-of-device-vs-store",
        "coverage/mm/migrate/end-of-device-vs-fork",
        "coverage/mm/migrate/evict-vs-discard",
        "test/mm/migrate.test.ts",
      ],
    },
    {
      what: "the mid and top tables, and the words of the generations in the mm struct",
      by: "exit (`freeTables`, `mmdrop`), in whoever drops the last user",
      readers: "the same, and the software TLBs of all threads",
      apart:
        "W2 of mmu/radix-table.ts, M1 of mm/lifetime/mm.ts: who loads has a user. An AddressSpace object forgets its translations and lets nobody in before it gives its user up (L4, L5 of space/space-hold.ts); a thread that died runs no more before its user is dropped for it (death.ts)",
      proof: [
        "coverage/space/load-vs-exit",
        "coverage/space/attach-vs-dispose",
        "test/space/lifetime.test.ts",
      ],
    },
    {
      what: "a table that lost the race to be linked",
      by: "the thread that made it (`tableAt`, `linkHuge`)",
      readers: "nobody: it was never linked",
      apart:
        "W1 of mmu/radix-table.ts: linked by compare-and-swap; the loser's number is known to nobody else",
      proof: [
        "coverage/mm/add-vs-add-on-first-touch",
        "coverage/mm/fault-vs-fault",
        "coverage/mm/huge/fault-vs-fault",
        "coverage/mm/shared/write-vs-write",
      ],
    },
    {
      what: "a frame of the RAM",
      by: "whoever drops its last count: zap, copy-on-write, the end of a view, exit",
      readers: "loads and stores through translations that threads remember",
      apart:
        "P2 of mm/pte.ts: the entry is taken away, then flushed, then the frame is put; X1 to X5, S1",
      proof: [
        "coverage/mm/load-vs-discard",
        "coverage/mm/store-vs-discard",
        "coverage/mm/store-vs-mprotect",
        "coverage/mm/store-vs-fork",
        "coverage/mm/load-vs-copy-on-write",
        "coverage/mm/store-vs-view",
      ],
    },
    {
      what: "a frame that a fault is about to copy",
      by: "zap, which takes no lock that the fault holds alone",
      readers: "`writeProtectedPrivate`, which has read the frame's number",
      apart:
        "C3 of mm/fault/copy-on-write.ts: a reference is taken unless the count is 0, then the entry is rechecked",
      proof: ["coverage/mm/copy-on-write", "coverage/mm/store-vs-copy-of-tracked"],
    },
    {
      what: "a frame that a device is copying",
      by: "zap",
      readers: "`SpanService`, which copies without a lock and without a reference",
      apart:
        "R4: under the driver lock the copy is thrown away if an invalidation has come since; frame tables and buffers stay where they are (F2 of memory/frames/frame-refs.ts)",
      proof: ["coverage/devices/read-vs-madvise", "coverage/devices/read-vs-store"],
    },
    {
      what: "the frames under a view",
      by: "its end (`closeHold`), or the reaper's",
      readers: "the program's typed arrays",
      apart:
        "W1, W3 of mm/view/view-hold.ts: pinned until then. A typed array that is kept for longer reads what the frame has become: LIMITS.md",
      proof: [
        "coverage/mm/death/view-vs-madvise",
        "coverage/mm/private/munmap-vs-write-view",
        "test/space/view.test.ts",
      ],
    },
    {
      what: "the tables and frames of a shared mapping's source",
      by: "`cachePut`, with the last vma over it",
      readers: "faults of several spaces, which share no mmap lock",
      apart:
        "V3 of mm/vma/vma-map.ts: each vma has a reference, and stays while its space's mmap lock is held; H1, H2 of mm/vma/page-cache.ts",
      proof: [
        "coverage/mm/source/view-vs-fault",
        "coverage/mm/source/fault-vs-discard",
        "test/mm/grown-heap.test.ts",
      ],
    },
    {
      what: "a vma",
      by: "munmap and its kin, the mmap lock held for writing; exit, alone",
      readers: "nobody: faults, `maps`, `pagemap` and every walk of a listener hold the mmap lock",
      apart: "V1 of mm/vma/vma-map.ts, M4 of mm/lifetime/mm.ts",
      proof: [
        "coverage/mm/private/read-vs-munmap",
        "coverage/mm/private/munmap-vs-visit",
        "coverage/hmm/serve-vs-munmap",
      ],
    },
  ],
  "The kernel heap": [
    {
      what: "any word of the heap",
      by: "whoever frees the object that it is in",
      readers: "who has kept a pointer, and reads before it looks whether that is still good",
      apart:
        "The heap only grows and pages stay readable (C4 of memory/heap/slab-cache.ts), so a stale read gives a number and no error. A pointer is followed only after `ensure` (sync/shared-memory.ts): past the end of a thread's view there is nothing, and an atomic access goes to word 0",
      proof: [
        "test/mm/grown-heap.test.ts",
        "test/memory/heap.test.ts",
        "test/hmm/invalidate.test.ts",
      ],
    },
    {
      what: "a slot of a slab, and what a page of the heap is",
      by: "`free`, under slabLock or heapLock",
      readers: "`free` and debug builds' `Struct.at`, which judge a pointer by the words around it",
      apart:
        "C1 of memory/heap/slab-cache.ts, P2 of memory/heap/heap-pages.ts: of a live object they do not change; of a freed one the answer is an error, whichever they are",
      proof: [
        "coverage/memory/thing-vs-thing",
        "coverage/memory/thing-vs-table",
        "test/memory/heap.test.ts",
      ],
    },
    {
      what: "an entry of a name table (slab caches, well-known pointers)",
      by: "nobody: entries are never removed",
      readers: "`find`",
      apart: "D1, D2 of memory/layout/name-table.ts",
      proof: ["coverage/memory/only-vs-only"],
    },
    {
      what: "the record of a section, and its frame numbers",
      by: "`removeSection`, in the thread that had added the user's buffer; a device's end",
      readers: "every thread's `RamSection` objects, and handles that are still on their way",
      apart:
        "U1, U2 of space/user-buffers.ts: not while a frame is counted. The record's serial tells a later section; numbers rest before they are given out again (memory/frames/sections.ts); `adopt` reads the serial last",
      proof: ["coverage/memory/section-vs-use", "test/memory/sections.test.ts"],
    },
    {
      what: "a frame in another thread's magazine",
      by: "a thread that finds none elsewhere",
      readers: "the magazine's owner, without a lock",
      apart: "A1 of memory/frames/frame-allocator.ts: a slot changes hands by exchange",
      proof: ["test/memory/threads.test.ts", "coverage/memory/frame-vs-frame"],
    },
  ],
  Threads: [
    {
      what: "a thread's record",
      by: "the thread, which leaves, or a reaper; then the next thread that joins",
      readers:
        "flushers (INSIDE), probers and finders of its death (STATE, TOKENS, the held table), reapers (the resource list)",
      apart:
        "STATE has a generation, and changes by compare-and-swap. A free record's INSIDE is even; a flusher that goes on waiting for the next owner's store waits for that one store. D1 of sync/death/death.ts: no reaper frees a record while it is being declared dead. L3 of sync/death/liveness.ts: a late prober finds none of the next owner's waiters. Names are for messages only",
      proof: [
        "test/sync/found-dead.test.ts",
        "coverage/sync/shootdown",
        "coverage/sync/death/reapers",
        "coverage/space/death/attached-vs-dispose",
      ],
    },
    {
      what: "a word that a thread sleeps on, in an object that is freed",
      by: "whoever frees the object",
      readers: "a waker that is between its store and its wake",
      apart:
        "A wake writes nothing, and who is woken for nothing looks again (B1 of sync/runners/run-blocking.ts). What does write after it has let go (`upRead`, `upWrite`, `wakeAll`) has a reference of the object until after: a user for the mmap lock, one of the hmm's for its semaphore and queue, one of the device's for the turn",
      proof: [
        "coverage/hmm/exit-vs-serve",
        "coverage/devices/read-vs-exit",
        "coverage/hmm/mirror-vs-madvise",
      ],
    },
    {
      what: "the words of a deferred call, in an object that is to be freed",
      by: "the call itself",
      readers: "the queue of the SRCU",
      apart: "They belong to the queue until the call runs (sync/primitives/srcu-callbacks.ts)",
      proof: ["coverage/sync/srcu-call"],
    },
  ],
  "Listeners, mirrors, ranges": [
    {
      what: "a listener's node, and the hmm that it is in",
      by: "`hmmFree`, in whoever drops the last reference; `mmuNotifierUnregister`'s caller",
      readers: "every invalidation, walking the list in a read section of the notifier's SRCU",
      apart:
        "N1, N2 of notifier/subscriptions.ts, N5 of notifier/mmu-notifier.ts, H1, H2 of hmm/hmm-struct.ts: freed a grace period after it was unlinked, and used only with a reference that was not 0",
      proof: [
        "coverage/notifier/unregister-vs-invalidate",
        "coverage/notifier/leave-vs-invalidate",
        "coverage/sync/srcu",
        "patches/01/after",
      ],
    },
    {
      what: "the mm struct",
      by: "`mmdrop`, with the last count",
      readers: "whoever comes from a hmm, a view, a record of the table of spaces",
      apart:
        "M1 of mm/lifetime/mm.ts, H3 of hmm/hmm-struct.ts, W1 of mm/view/view-hold.ts, T1 of space/space-table.ts: each has a count or a user",
      proof: [
        "patches/03/after",
        "coverage/hmm/exit-vs-mirror",
        "coverage/space/enlist-vs-dispose",
      ],
    },
    {
      what: "the hmm that `mm.hmm` names",
      by: "`hmmFree`",
      readers: "nobody without pageTableLock",
      apart:
        "H4 of hmm/hmm-struct.ts: a weak pointer, cleared under the lock under which it is followed",
      proof: ["patches/04/all/after"],
    },
    {
      what: "a mirror, and its hmm once its thread has died",
      by: "the driver, after unregister; or when its other threads are gone (`hmmMirrorForget`)",
      readers:
        "call-backs in other threads; a thread of the driver that is about to register a range",
      apart: "K2, K4 of hmm/mirror/mirror.ts",
      proof: [
        "coverage/hmm/mirror-vs-madvise",
        "coverage/hmm/death/owner-vs-range",
        "coverage/hmm/death/owner-vs-range-and-madvise",
        "patches/11/after",
      ],
    },
    {
      what: "a range's record",
      by: "its one user (`hmmRangeFree`), or the reaper",
      readers:
        "the user itself reads the stamp without rangesLock; others have the lock, and it is in the list",
      apart: "G1, G2 of hmm/range/range.ts, S3 of hmm/range-record.ts",
      proof: [
        "coverage/hmm/serve-vs-madvise",
        "coverage/hmm/death/range-vs-madvise",
        "patches/10/after",
      ],
    },
    {
      what: "the table of invalidations in flight",
      by: "`growInFlight`, after it has put a larger one in its place",
      readers: "nobody without rangesLock",
      apart:
        "hmm/in-flight.ts: the old one is freed after the lock was dropped, and nobody has kept its number",
      proof: ["coverage/hmm/growing-in-flight", "test/hmm/invalidate.test.ts"],
    },
  ],
  "Spaces and devices": [
    {
      what: "a record of the table of spaces",
      by: "the last holder (`dropHolder`)",
      readers: "nobody without spacesLock; a handle names it by number",
      apart: "T1, T2 of space/space-table.ts",
      proof: ["coverage/space/attach-vs-dispose", "coverage/space/death/attached-vs-dispose"],
    },
    {
      what: "a leaf of a device's page table",
      by: "the device's `invalidate` of an unmapped range (`freeLeaves`), the driver lock held",
      readers:
        "loads, stores and atomics of the device's threads; hints of its fault service (what is resident, what is missing)",
      apart:
        "W3 of mmu/radix-table.ts and X1 to X5, with the device's own generations. A hint may be wrong: what follows from it is looked at again under the driver lock (D1 of devices/service/device-record.ts)",
      proof: [
        "test/devices/reused-memory.test.ts",
        "coverage/devices/read-vs-madvise",
        "coverage/devices/serve-vs-serve",
      ],
    },
    {
      what: "a frame of device memory",
      by: "eviction, and whoever takes a translation away",
      readers:
        "the device's threads, through translations that they remember; `touch`, which marks it used",
      apart:
        "D2, D3 of devices/service/device-record.ts: flushed before the frame holds something else. A mark that comes late goes to the frame's next page, which costs that one nothing but a chance to be evicted",
      proof: [
        "coverage/devices/kernel-load-vs-discard",
        "coverage/devices/kernel-store-vs-discard",
        "coverage/devices/evict-vs-read",
      ],
    },
    {
      what: "the device's record with its tables, rings and generations",
      by: "whoever drops the last reference (`freeDevice`): the owner, a thread that leaves, a reaper",
      readers:
        "the device's threads, Workers that are about to become such, what a kernel has left behind in them; the owner's statistics",
      apart:
        "The mirror's registration and each thread hold a reference (devices/software/device-state.ts); a Worker takes one under the lock of the list of devices (L1, L2 of devices/service/listed-devices.ts). A thread's memory is closed before it gives its own up, and finds nothing from then on; the owner keeps the last numbers",
      proof: [
        "coverage/devices/death/owner-vs-join",
        "coverage/devices/read-vs-exit",
        "test/devices/odd-kernels.test.ts",
        "test/devices/thread-death.test.ts",
      ],
    },
    {
      what: "a WebGPU device's record, with its chunks of private memory",
      by: "whoever drops the last reference (`freeRecord`): the owner, the Worker, a reaper",
      readers: "the device's Worker, a Worker that is about to become it",
      apart:
        "The mirror's registration and the Worker hold a reference (E1, E2 of devices/webgpu-record/record-life.ts); a Worker takes one under the lock of the list of devices (L1, L2 of devices/service/listed-devices.ts)",
      proof: ["coverage/devices/death/webgpu-owner-vs-join", "coverage/devices/death/webgpu-life"],
    },
    {
      what: "the place of a device's record",
      by: "the next device on the machine",
      readers: "views of devices that threads keep by place (devices/service/mirror-ops.ts)",
      apart: "A device has a serial number, which is looked at each time",
      proof: ["test/devices/reused-memory.test.ts"],
    },
  ],
};

/**
 * What a row may name.
 *
 * @typedef {object} Known
 * @property {string} rootPath
 * @property {ReadonlySet<string>} scenarios Names of all that ship.
 * @property {(path: string, label: string) => boolean} hasRule Whether a file of src/ has a rule of
 *   that label in its head.
 */

/** Labels of one file: "W1, W3 of mmu/radix-table.ts". */
const CITED = /((?:[A-Z]\d+(?:, | to | and ))*[A-Z]\d+) of ([\w/-]+\.ts)/g;

/**
 * @param {string} apart
 * @param {Known} known
 */
function checkRules(apart, { hasRule }) {
  for (const [, labels = "", path = ""] of apart.matchAll(CITED)) {
    for (const label of labels.match(/[A-Z]\d+/g) ?? []) {
      if (!hasRule(path, label))
        throw new Error(`scripts/docs/freed.mjs cites ${label} of ${path}, which has no such rule`);
    }
  }
}

/**
 * @param {string} proof
 * @param {Known} known
 */
function checkProof(proof, { rootPath, scenarios }) {
  const exists = proof.endsWith(".test.ts")
    ? existsSync(`${rootPath}${proof}`)
    : scenarios.has(proof);
  if (!exists) throw new Error(`scripts/docs/freed.mjs names ${proof}, which does not exist`);
}

/**
 * The section as Markdown. Throws if a row names a rule, a scenario or a test that does not exist.
 *
 * @param {Known} known
 * @returns {string[]} Lines.
 */
export function renderFreed(known) {
  const tables = Object.entries(freed).flatMap(([title, rows]) => [
    `### ${title}`,
    "",
    "| what | who frees it, or uses it again | who reads it without that lock | what keeps them apart | what proves it |",
    "| --- | --- | --- | --- | --- |",
    ...rows.map(({ what, by, readers, apart, proof }) => {
      checkRules(apart, known);
      for (const one of proof) checkProof(one, known);
      return `| ${what} | ${by} | ${readers} | ${apart} | ${proof.map((one) => `\`${one}\``).join(", ")} |`;
    }),
    "",
  ]);
  return [
    "## What is freed, or used again, beside readers without a lock",
    "",
    "From `scripts/docs/freed.mjs`. A rule's label belongs to the file that is named with it, and stands under that file's heading below. Of the",
    "scenarios each has a broken twin, or stands beside one that has; in a test two threads are led by hand, where no exploration reaches.",
    "",
    ...tables,
  ];
}

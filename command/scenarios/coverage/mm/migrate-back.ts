/**
 * @module Pages that come back from a device's memory, against each call that changes a mapping. A
 * page comes back because its device gives it up, because a CPU thread touches it, or because its
 * frame is evicted. Whichever is first, the page is in one place afterwards, whole.
 *
 * In the twins the copy is made with the mmap lock dropped (Y2 of migrate-vma.ts), or the entry is
 * taken for the migration's own after it (Y3), or both.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { MADV_DONTNEED, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { doMprotect } from "../../../../src/mm/calls/mprotect.ts";
import { doMremap } from "../../../../src/mm/calls/mremap.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { evictDeviceFrame } from "../../../../src/mm/migrate/device-evict.ts";
import { PAGE_BYTES, ptePfn, withoutWrite } from "../../../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { VM_READ } from "../../../../src/mm/vma/vma.ts";
import { bug } from "../../../../src/sync/errors.ts";
import { type Task, type Wait, WOKEN } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import {
  ADDRESS,
  BEFORE,
  FAULTED,
  PAGE,
  backToRam,
  childOf,
  claimEntry,
  contents,
  dropLock,
  load,
  migrating,
} from "./migrate-stage.ts";
import type { Body, MigrationWorld } from "./migrate-stage.ts";

const STEPS = [
  "mm/migrate/migrate-vma.migrateVmaSetup",
  "mm/migrate/migrate-vma.migrateVmaPages",
  "mm/migrate/migrate-vma.migrateVmaFinalize",
] as const;

export interface Way {
  readonly name: string;
  readonly why: string;
  readonly runs: readonly string[];
  readonly body: Body;
}

/** Why a page comes back. */
export const ways: readonly Way[] = [
  { name: "back", why: "the device gives it up", runs: STEPS, body: backToRam },
  {
    name: "touch",
    why: "a CPU thread touches it",
    runs: ["mm/fault/device-private.devicePrivateFault", ...STEPS],
    body: load,
  },
  {
    name: "evict",
    why: "its frame is evicted",
    runs: ["mm/migrate/device-evict.evictDeviceFrame", ...STEPS],
    body: ({ memory }, { machine }) => evictDeviceFrame(machine, memory, memory.basePfn),
  },
];

/** What is broken about a copy. */
export interface Fault {
  readonly name: string;
  readonly summary: string;
  readonly dropsLock: boolean;
  readonly claims: boolean;
}

export const UNLOCKED: Fault = {
  name: "without-lock",
  summary: "The mmap lock is dropped for the copy.",
  dropsLock: true,
  claims: false,
};
export const UNASKED: Fault = {
  name: "without-look",
  summary: "The entry is taken for the migration's own after the copy.",
  dropsLock: false,
  claims: true,
};
export const BOTH: Fault = {
  name: "without-lock-and-look",
  summary: "The mmap lock is dropped for the copy, and the entry taken for the migration's own.",
  dropsLock: true,
  claims: true,
};

/** `body` with broken copies; those of other tasks are as they are. */
export function broken({ dropsLock, claims }: Fault, body: Body): Body {
  return function* (world, harness) {
    const { ram } = harness.machine;
    function* copy(from: number, to: number): Task<void> {
      if (dropsLock) yield* dropLock(harness);
      yield* Object.getPrototypeOf(ram).copyFrame.call(ram, from, to);
      if (claims) claimEntry(harness, from);
    }
    const task = body(world, harness);
    let wake = WOKEN;
    for (;;) {
      Object.defineProperty(ram, "copyFrame", { value: copy, configurable: true });
      let result: IteratorResult<Wait, unknown>;
      try {
        result = task.next(wake);
      } finally {
        Reflect.deleteProperty(ram, "copyFrame");
      }
      if (result.done === true) return;
      wake = yield result.value;
    }
  };
}

interface Call {
  readonly name: string;
  readonly runs: readonly string[];
  readonly body: Body;
  readonly check: (world: MigrationWorld, harness: HmmHarness) => void;
  readonly twin: Fault;
}

function requireHeld(value: number, what: string): void {
  if (value !== BEFORE) bug(`${what} holds ${value}`);
}

/** What was loaded was there, or nothing was mapped. */
function requireSeen({ seen }: MigrationWorld, ...allowed: readonly number[]): void {
  for (const value of seen)
    if (value !== BEFORE && !allowed.includes(value)) bug(`A load gave ${value}`);
}

const calls: readonly Call[] = [
  {
    name: "fork",
    runs: ["mm/lifetime/fork.doFork"],
    *body(world, { machine, mm }) {
      world.child = yield* doFork(machine, mm);
    },
    check(world, harness) {
      requireSeen(world);
      requireHeld(contents(harness), "The page");
      requireHeld(contents(harness, childOf(world, harness)), "The child's page");
    },
    twin: UNLOCKED,
  },
  {
    name: "munmap",
    runs: ["mm/calls/munmap.doMunmap"],
    body: (_world, { machine, mm }) => doMunmap(machine, mm, ADDRESS, PAGE_BYTES),
    check(world, harness) {
      requireSeen(world, FAULTED);
      if (harness.entryOf(PAGE) !== 0) bug("The page is there after munmap");
    },
    twin: BOTH,
  },
  {
    name: "mprotect",
    runs: ["mm/calls/mprotect.doMprotect"],
    body: (_world, { machine, mm }) => doMprotect(machine, mm, ADDRESS, PAGE_BYTES, VM_READ),
    check(world, harness) {
      requireSeen(world);
      requireHeld(contents(harness), "The page");
      const pte = harness.entryOf(PAGE);
      if (withoutWrite(pte) !== pte) bug("The page may be written after mprotect");
    },
    twin: UNLOCKED,
  },
  {
    name: "mremap",
    runs: ["mm/calls/mremap.doMremap"],
    body: (_world, { machine, mm }) =>
      doMremap(machine, mm, {
        address: ADDRESS,
        oldLengthBytes: PAGE_BYTES,
        newLengthBytes: PAGE_BYTES,
        mayMove: true,
        to: ADDRESS + 4 * PAGE_BYTES,
      }),
    check(world, harness) {
      requireSeen(world, FAULTED);
      if (harness.entryOf(PAGE) !== 0) bug("The page is at its old place");
      const pfn = ptePfn(harness.entryOf(PAGE + 4));
      const { sections } = harness.machine.ram;
      requireHeld(sections.of(pfn).i32[sections.wordIndex(pfn)]!, "At its new place the page");
    },
    twin: UNLOCKED,
  },
  {
    name: "discard",
    runs: ["mm/entries/zap.zapRange"],
    body: (_world, { machine, mm }) => doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_DONTNEED),
    check(world, harness) {
      requireSeen(world, 0);
      if (contents(harness) !== 0) bug("The page that was given up holds what it held");
      if (world.memory.usedPages !== 0) bug("A frame of the device is used");
    },
    twin: UNASKED,
  },
  {
    name: "view",
    runs: ["mm/view/view-open.viewOpen"],
    *body(_world, { machine, mm }) {
      const at = yield* viewOpen(machine, mm, PAGE, PAGE + 1, true);
      if (at < 0) bug(`A view of a page that can be had answered ${at}`);
      yield* viewClose(machine, at);
    },
    check(world, harness) {
      requireSeen(world);
      requireHeld(contents(harness), "The page");
    },
    twin: BOTH,
  },
];

function pair(way: Way, call: Call): Covered {
  const { twin } = call;
  return migrating({
    name: `${way.name}-vs-${call.name}`,
    summary: `A page comes back because ${way.why}, while another thread calls ${call.name}.`,
    isThere: true,
    exploration: { engine: "bounded", preemptions: 1 },
    tasks: { move: [way.runs, way.body], call: [call.runs, call.body] },
    check: call.check,
    twins: [[twin.name, twin.summary, "assertion", { move: broken(twin, way.body) }]],
  });
}

/** The hint of the frame says where the page was (device-evict.ts). */
const moved: Covered = migrating({
  name: "evict-after-mremap",
  summary: "A page has moved to another address since it came to the device: its frame is evicted.",
  isThere: true,
  tasks: {
    evict: [
      ["mm/migrate/device-evict.evictDeviceFrame", ...STEPS],
      function* ({ memory }, { machine, mm }) {
        const lengths = { oldLengthBytes: PAGE_BYTES, newLengthBytes: PAGE_BYTES };
        const to = ADDRESS + 4 * PAGE_BYTES;
        yield* doMremap(machine, mm, { address: ADDRESS, ...lengths, mayMove: true, to });
        yield* evictDeviceFrame(machine, memory, memory.basePfn);
      },
    ],
  },
  check({ memory }) {
    if (memory.usedPages !== 0) bug("The frame is used all the same");
  },
  twins: [
    [
      "by-hint-only",
      "The eviction looks for the page where the hint says, and nowhere else.",
      "assertion",
      {
        *evict(world, harness) {
          const lengths = { oldLengthBytes: PAGE_BYTES, newLengthBytes: PAGE_BYTES };
          const to = ADDRESS + 4 * PAGE_BYTES;
          const { machine, mm } = harness;
          yield* doMremap(machine, mm, { address: ADDRESS, ...lengths, mayMove: true, to });
          yield* backToRam(world, harness);
        },
      },
    ],
  ],
});

export const migrationsBack: readonly Covered[] = [
  moved,
  ...ways.flatMap((way) => calls.map((call) => pair(way, call))),
];

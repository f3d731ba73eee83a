/**
 * @module The commands of the software device's owner (devices/software/commands.ts) while a CPU
 * thread discards, unmaps or stores, or has a write view: they deliver what a page held at some
 * moment, and name the page that they could not have.
 *
 * The pages hold 1 and 2 in the beginning; a page that was discarded reads as zeros.
 */

import { type HmmHarness, HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { CommandOutcome } from "../../../../src/devices/software/command.ts";
import { COMMANDS, type CommandName } from "../../../../src/devices/software/commands.ts";
import {
  countExclusive,
  exclusiveCommand,
} from "../../../../src/devices/software/exclusive-command.ts";
import { readStats } from "../../../../src/devices/service/device-stats.ts";
import { viewDevice } from "../../../../src/devices/software/view-device.ts";
import {
  FaultService,
  type SpanServiceClass,
} from "../../../../src/devices/service/fault-service.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { PAGE_BYTES, ptePfn } from "../../../../src/mm/pte.ts";
import { ViewHold } from "../../../../src/mm/view/view-hold.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { listedResources } from "../../../../src/sync/lockdep/resources.ts";
import { EBUSY, EFAULT, ESRCH } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { DoesNotAsk, resolve } from "./service.ts";
import { BOUNDED, type Body, type DeviceWorld, playing } from "./stage.ts";

const PAGES = 2;
const LAST: number = HARNESS_PAGE + PAGES - 1;

function frameBytes({ machine }: HmmHarness, pfn: number): Uint8Array {
  const start = machine.ram.sections.wordIndex(pfn) * 4;
  return machine.ram.sections.of(pfn).u8.subarray(start, start + PAGE_BYTES);
}

/** The pages' first bytes, in the set-up. */
function* stamp(_world: DeviceWorld, harness: HmmHarness): Task<void> {
  for (let page = HARNESS_PAGE; page <= LAST; page++) {
    yield* cpuFault(harness.machine, harness.mm, page, true);
    frameBytes(harness, ptePfn(harness.entryOf(page)))[0] = 1 + page - HARNESS_PAGE;
  }
}

/**
 * A word of each page: the command covers the end of the first and the beginning of the last, or
 * whole pages.
 */
function* command(
  { software }: DeviceWorld,
  { machine }: HmmHarness,
  name: CommandName,
  bytes: Uint8Array,
  Spans?: SpanServiceClass,
): Task<CommandOutcome> {
  const service = yield* FaultService.open(viewDevice(machine, software), Spans);
  if (typeof service === "number") throw new Error(`no service: ${service}`);
  const request = { address: HARNESS_PAGE * PAGE_BYTES, lengthBytes: PAGES * PAGE_BYTES, bytes };
  const outcome = yield* COMMANDS[name].run(service, request);
  yield* service.close();
  return outcome;
}

/** Reads both pages. What may come of the last one beside what it held: `others`. */
function reads(others: readonly number[], Spans?: SpanServiceClass): Body {
  return function* (world, harness) {
    const bytes = new Uint8Array(PAGES * PAGE_BYTES);
    const { errno } = yield* command(world, harness, "read", bytes, Spans);
    assert(errno === 0, `the command answered ${errno}`);
    const [first, last = -1] = [bytes[0], bytes[PAGE_BYTES]];
    assert(first === 1, `the first page reads ${first}`);
    assert([2, ...others].includes(last), `the last page reads ${last}`);
  };
}

/** Writes both pages, or says that it could not have the last. */
const writeUnmapped: Body = function* (world, harness) {
  const bytes = new Uint8Array(PAGES * PAGE_BYTES).fill(7);
  const { errno, page } = yield* command(world, harness, "write", bytes);
  assert(
    errno === 0 || (errno === EFAULT && page === LAST),
    `the command answered ${errno} for page ${page}`,
  );
  assert(
    frameBytes(harness, ptePfn(harness.entryOf(HARNESS_PAGE)))[0] === 7,
    "the first page was not written",
  );
};

const snapshots: Body = function* (world, harness) {
  const bytes = new Uint8Array(PAGES);
  const { errno, pages } = yield* command(world, harness, "snapshot", bytes);
  assert(errno === 0 && pages === PAGES, `the command answered ${errno} after ${pages} pages`);
};

const discardLast: Body = (_world, harness) => harness.discard(LAST, 1);
const unmapLast: Body = (_world, { machine, mm }) =>
  doMunmap(machine, mm, LAST * PAGE_BYTES, PAGE_BYTES);

/** A write view of the last page, which stores 9. */
const writeView: Body = function* (_world, harness) {
  const { machine, mm } = harness;
  const at = yield* viewOpen(machine, mm, LAST, LAST + 1, true);
  assert(at > 0, `the view answered ${at}`);
  frameBytes(harness, ViewHold.at(machine.memory, at).pfn)[0] = 9;
  yield* viewClose(machine, at);
};

/** Looks at both pages while somebody discards both: they are there, or not. */
const snapshotsBoth: Body = function* (world, harness) {
  const bytes = new Uint8Array(PAGES);
  const { errno } = yield* command(world, harness, "snapshot", bytes);
  assert(
    errno === 0 && bytes[0] === bytes[1],
    `the command answered ${errno}, and that pages are ${bytes.join()}`,
  );
};

const discardBoth: Body = (_world, harness) => harness.discard(HARNESS_PAGE, PAGES);

/** Asks for the last page, while a view may be open. */
const resolveLast: Body = (world, harness) => resolve(world, harness, LAST, false);

/**
 * One wait for the span, as the service owner, and one as none: the third waits as long as it
 * takes.
 */
function checkRounds({ record }: DeviceWorld): void {
  const { batches } = readStats(record);
  assert(batches <= 2, `a page that could not be had yet was tried ${batches} times`);
}

/** The device may write both pages before the space goes. */
function* stampAndWrite(world: DeviceWorld, harness: HmmHarness): Task<void> {
  yield* stamp(world, harness);
  yield* writesLate(world, harness);
}

/** Both, in RAM, or the space is gone. */
const writesLate: Body = function* (world, harness) {
  const { errno } = yield* command(
    world,
    harness,
    "write",
    new Uint8Array(PAGES * PAGE_BYTES).fill(7),
  );
  assert(errno === 0 || errno === ESRCH, `the command answered ${errno}`);
};

const exit: Body = (_world, { machine, mm }) => mmput(machine, mm);

/** One page for the device alone, while the CPU stores to it. */
const takesFirst: Body = function* ({ software }, { machine }) {
  const service = yield* FaultService.open(viewDevice(machine, software));
  if (typeof service === "number") throw new Error(`no service: ${service}`);
  const bytes = new Uint8Array(0);
  const request = { address: HARNESS_PAGE * PAGE_BYTES, lengthBytes: PAGE_BYTES, bytes };
  const { errno } = yield* exclusiveCommand(service, request);
  assert(errno === 0, `the command answered ${errno}`);
  yield* service.close();
};

function requireExclusive(world: DeviceWorld, harness: HmmHarness, pages: number): Task<void> {
  const device = viewDevice(harness.machine, world.software);
  return (function* () {
    const has = yield* countExclusive(device, HARNESS_PAGE, HARNESS_PAGE + PAGES);
    assert(has === pages, `the device has ${has} pages for itself, not ${pages}`);
  })();
}

/** Both pages for the device alone; what takes them back; and what it is told if it cannot. */
const takesAlone: Body = function* (world, harness) {
  const { machine, mm } = harness;
  const none = new Uint8Array(0);
  const take = (): Task<CommandOutcome> => command(world, harness, "exclusive", none);
  yield* requireExclusive(world, harness, 0);
  const first = yield* take();
  assert(first.errno === 0 && first.pages === PAGES, `the command answered ${first.errno}`);
  yield* requireExclusive(world, harness, PAGES);
  yield* cpuFault(machine, mm, HARNESS_PAGE, true);
  yield* requireExclusive(world, harness, 1);
  yield* take();
  yield* harness.discard(HARNESS_PAGE, PAGES);
  yield* requireExclusive(world, harness, 0);

  const view = yield* viewOpen(machine, mm, LAST, LAST + 1, true);
  const beside = yield* take();
  assert(beside.errno === EBUSY, `beside a view the command answered ${beside.errno}`);
  yield* viewClose(machine, view);
  yield* doMunmap(machine, mm, LAST * PAGE_BYTES, PAGE_BYTES);
  const unmapped = yield* take();
  assert(unmapped.errno === EFAULT, `without a mapping the command answered ${unmapped.errno}`);
  const { memory } = machine;
  assert(listedResources(memory, memory.record).length === 0, "the thread still owns something");
};

const takesBoth: Body = function* (world, harness) {
  yield* stamp(world, harness);
  yield* command(world, harness, "exclusive", new Uint8Array(0));
};

/** Both pages, or none: they are discarded together. */
const counts: Body = function* ({ software }, { machine }) {
  const device = viewDevice(machine, software);
  const has = yield* countExclusive(device, HARNESS_PAGE, HARNESS_PAGE + PAGES);
  assert(has === 0 || has === PAGES, `the device has ${has} pages for itself`);
};

const SERVE = [
  "devices/service/fault-service.serveRange",
  "devices/service/span-service.serve",
] as const;
const VIEW = ["mm/view/view-open.viewOpen", "mm/view/view-open.viewClose"] as const;
const parts = { frames: 2, pages: PAGES, before: stamp } as const;

const EXCLUSIVE = ["devices/software/exclusive-command.exclusiveCommand"] as const;

export const deviceCommands: readonly Covered[] = [
  playing({
    ...parts,
    name: "alone/exclusive",
    summary: "The device gets both pages for itself, loses them to the CPU, and cannot have them.",
    tasks: {
      take: [[...EXCLUSIVE, "devices/software/exclusive-command.countExclusive"], takesAlone],
    },
  }),
  playing({
    ...parts,
    name: "command-exclusive-vs-store",
    summary: "The device gets a page for itself while the CPU stores to it: one of the two has it.",
    exploration: { ...BOUNDED, preemptions: 1, timeouts: 0 },
    tasks: {
      take: [EXCLUSIVE, takesFirst],
      store: [
        ["mm/fault/device-exclusive.deviceExclusiveFault"],
        (_world, { machine, mm }) => cpuFault(machine, mm, HARNESS_PAGE, true),
      ],
    },
  }),
  playing({
    ...parts,
    name: "command-exclusive-vs-madvise",
    summary: "The device gets a page for itself while the CPU discards it.",
    exploration: { ...BOUNDED, preemptions: 1, timeouts: 0 },
    tasks: {
      take: [EXCLUSIVE, takesFirst],
      madvise: [
        ["mm/calls/madvise.doMadvise"],
        (_world, harness) => harness.discard(HARNESS_PAGE, 1),
      ],
    },
  }),
  playing({
    ...parts,
    name: "count-exclusive-vs-madvise",
    summary: "It is asked how many pages a device has for itself, while the CPU discards them.",
    before: takesBoth,
    exploration: { ...BOUNDED, preemptions: 1, timeouts: 0 },
    tasks: {
      count: [["devices/software/exclusive-command.countExclusive"], counts],
      madvise: [["mm/calls/madvise.doMadvise"], discardBoth],
    },
  }),
  playing({
    ...parts,
    name: "command-read-vs-madvise",
    summary: "The owner reads two pages through the device while the CPU discards the last.",
    tasks: { read: [SERVE, reads([0])], madvise: [["mm/calls/madvise.doMadvise"], discardLast] },
    twins: [
      [
        "does-not-ask",
        "Under the driver lock it is not asked whether the range is still valid: the device keeps a page that is gone.",
        { read: reads([0], DoesNotAsk) },
      ],
    ],
  }),
  playing({
    ...parts,
    name: "command-write-vs-munmap",
    summary:
      "The owner writes two pages through the device while the CPU unmaps the last: both, or the error names it.",
    tasks: { write: [SERVE, writeUnmapped], munmap: [["mm/calls/munmap.doMunmap"], unmapLast] },
  }),
  playing({
    ...parts,
    name: "command-read-vs-write-view",
    summary:
      "The owner reads two pages through the device while a write view of the last is open: it waits for its end.",
    tasks: { read: [SERVE, reads([9])], view: [VIEW, writeView] },
  }),
  playing({
    ...parts,
    name: "read-vs-write-view",
    summary:
      "The device asks for a page while a write view of it is open: it waits for its end, and does not ask again and again.",
    exploration: { ...BOUNDED, timeouts: 2 },
    check: checkRounds,
    tasks: {
      read: [["devices/service/fault-service.resolve"], resolveLast],
      view: [VIEW, writeView],
    },
  }),
  playing({
    ...parts,
    name: "command-write-vs-exit",
    summary: "The owner writes two pages that the device may write while the space goes.",
    before: stampAndWrite,
    tasks: {
      write: [["devices/software/transfer-command.transferThroughTable"], writesLate],
      exit: [["mm/lifetime/mm.mmput"], exit],
    },
  }),
  playing({
    ...parts,
    name: "command-snapshot-vs-madvise",
    summary: "The owner looks at two pages that the CPU discards together: it sees both, or none.",
    tasks: {
      snapshot: [["hmm/walk/snapshot.hmmRangeSnapshot"], snapshotsBoth],
      madvise: [["mm/calls/madvise.doMadvise"], discardBoth],
    },
  }),
  playing({
    ...parts,
    name: "command-snapshot-vs-write-view",
    summary: "The owner looks at two pages while a write view of the last is open.",
    tasks: {
      snapshot: [["hmm/walk/snapshot.hmmRangeSnapshot"], snapshots],
      view: [VIEW, writeView],
    },
  }),
];

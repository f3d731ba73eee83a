/**
 * @module The service of faults for a device that is not the software device: its memory is no RAM,
 * another thread copies to it, and it has a table of its own, which it alone looks at. The service
 * knows it by its copy engine and its translation unit only (devices/service/device-hardware.ts).
 * Each twin leaves out what one of the two promises.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { FindingKind } from "../../../../src/checker/findings/finding.ts";
import { Cell } from "../../../../src/checker/primitives/program.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { type ServedDevice, viewServedDevice } from "../../../../src/devices/service/device.ts";
import type {
  CopyBatch,
  CopyEngine,
  Entries,
  TranslationUnit,
} from "../../../../src/devices/service/device-hardware.ts";
import { allocDeviceParts, registerDevice } from "../../../../src/devices/service/device-parts.ts";
import { DeviceRecord } from "../../../../src/devices/service/device-record.ts";
import {
  ENTRY_LOCAL,
  ENTRY_PRESENT,
  entryFrameNumber,
} from "../../../../src/devices/service/device-table.ts";
import { FaultService } from "../../../../src/devices/service/fault-service.ts";
import { deviceMirrorOps } from "../../../../src/devices/service/mirror-ops.ts";
import { registerMirrorOps } from "../../../../src/hmm/mirror/mirror-ops.ts";
import { dataStep } from "../../../../src/memory/frames/page-data.ts";
import {
  type Struct,
  type StructView,
  type WordArray,
  array,
  embedStruct,
  struct,
} from "../../../../src/memory/layout/struct.ts";
import type { Machine } from "../../../../src/memory/machine.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { EBUSY } from "../../../../src/sync/errno.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import { DONE } from "../../../../src/sync/tasks/task.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { setWordOf, wordOf } from "./stage.ts";

const PAGES = 1;
const FRAMES = 2;
/** What the page begins with, before and after the CPU has stored. */
const BEFORE = 7;
const AFTER = 8;

/** Of the request: nothing is to be copied; no more will come; else the frame number plus this. */
const IDLE = 0;
const OVER = 1;
const FIRST = 2;

/**
 * Where its words are: the request to copy and where to, the first word of each frame, its table.
 */
const REQUEST = 0;
const TARGET = 1;
const MEMORY = 2;
const TABLE: number = MEMORY + FRAMES;

interface CardRecord extends StructView {
  readonly device: DeviceRecord;
  readonly words: WordArray;
}

const CardRecord: Struct<CardRecord> = struct<CardRecord>("scenarioCard", {
  device: embedStruct(DeviceRecord, "its own table", "what the service keeps of it"),
  words: array(TABLE + PAGES, "atomic", "its registers, its memory, its own table"),
});

/** The card's registers, memory and table, as words that threads share. */
class Card implements CopyEngine, TranslationUnit {
  readonly request: Cell;
  readonly target: Cell;
  readonly memory: readonly Cell[];
  readonly table: readonly Cell[];

  constructor(record: CardRecord) {
    const cell = (word: number, label: string): Cell =>
      new Cell(record.memory, record.words.at + word, label);
    this.request = cell(REQUEST, "request");
    this.target = cell(TARGET, "target");
    this.memory = Array.from({ length: FRAMES }, (_, i) => cell(MEMORY + i, `card memory ${i}`));
    this.table = Array.from({ length: PAGES }, (_, i) => cell(TABLE + i, `card entry ${i}`));
  }

  *copyToDevice({ count, sources, targets }: CopyBatch): Task<void> {
    for (let i = 0; i < count; i++) {
      yield* this.target.store(targets[i]!); // there are `count` of both
      yield* this.request.store(sources[i]! + FIRST);
      yield* this.untilCopied(sources[i]! + FIRST);
    }
  }

  *untilCopied(request: number): Task<void> {
    yield* this.request.waitWhile(request);
  }

  *install(entries: Entries, startPage: number, endPage: number): Task<void> {
    for (const [i, cell] of this.table.entries()) {
      const page = HARNESS_PAGE + i;
      if (page >= startPage && page < endPage) yield* cell.store(entries.entryOf(page));
    }
  }

  *flush(startPage: number, endPage: number): Task<void> {
    for (const [i, cell] of this.table.entries()) {
      const page = HARNESS_PAGE + i;
      if (page >= startPage && page < endPage) yield* cell.store(0);
    }
  }
}

/** It says that pages are copied when they are about to be. */
class AnswersEarly extends Card {
  override untilCopied(): Task<void> {
    return DONE;
  }
}

/** It goes on with what it has in its own table. */
class DoesNotFlush extends Card {
  override flush(): Task<void> {
    return DONE;
  }
}

type CardClass = new (record: CardRecord) => Card;

interface World {
  readonly record: CardRecord;
  readonly card: Card;
  readonly device: ServedDevice;
}

/** Cards that the machine's threads know, by class. */
const opsIds = new Map<CardClass, number>();

function opsIdOf(Class: CardClass): number {
  const known = opsIds.get(Class);
  if (known !== undefined) return known;
  const view = (machine: Machine, { memory, at }: DeviceRecord): ServedDevice =>
    viewCard(machine, CardRecord.at(memory, CardRecord.containerOf(at, "device")), Class).device;
  const ops = deviceMirrorOps(view, () => bug("The card's owner has died, and nobody may"));
  const id = registerMirrorOps(`scenario card ${Class.name}`, ops);
  opsIds.set(Class, id);
  return id;
}

function viewCard(machine: Machine, record: CardRecord, Class: CardClass): World {
  const card = new Class(record);
  return { record, card, device: viewServedDevice(machine, record.device, card, card) };
}

function makeWorld(harness: HmmHarness, Class: CardClass): World {
  const { machine, mm } = harness;
  setWordOf(harness, HARNESS_PAGE, 0, BEFORE);
  const record = CardRecord.at(machine.memory, harness.run(machine.heap.alloc(CardRecord)));
  const options = { frames: FRAMES, threads: 1, faultTimeoutMs: 2 ** 30, firstPfn: 0 };
  assert(harness.run(allocDeviceParts(machine, record.device, options)), "the card has its parts");
  const registering = function* (): Task<number> {
    yield* mm.mmapLock.downWrite();
    const errno = yield* registerDevice(machine, record.device, mm, opsIdOf(Class));
    yield* mm.mmapLock.upWrite();
    return errno;
  };
  assert(harness.run(registering()) === 0, "the card's mirror can be registered");
  return viewCard(machine, record, Class);
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;

/** A thread of the card's driver: brings the page; what the card reads then is the page. */
const read: Body = function* ({ card, device }) {
  const service = yield* FaultService.open(device);
  assert(typeof service !== "number", "a service can be had");
  const errno = yield* service.resolve(HARNESS_PAGE, false, false);
  assert(errno === 0 || errno === EBUSY, `the fault was answered ${errno}`);
  const entry = yield* card.table[0]!.load(); // it has PAGES
  if ((entry & ENTRY_LOCAL) !== 0) {
    const seen = yield* card.memory[entryFrameNumber(entry)]!.load(); // so the entry says
    assert(seen === BEFORE || seen === AFTER, `the card read ${seen}`);
  }
  yield* service.close();
  yield* card.request.store(OVER);
};

/** The thread that copies for the card. */
const dma: Body = function* ({ card }, { machine }) {
  const { ram, memory } = machine;
  for (;;) {
    yield* card.request.waitWhile(IDLE);
    const request = yield* card.request.load();
    if (request === OVER) return;
    const pfn = request - FIRST;
    const section = ram.sections.of(pfn);
    yield* dataStep(memory, "peek", pfn);
    const word = section.i32[section.wordIndex(pfn)]!; // a page has that many words
    yield* card.memory[yield* card.target.load()]!.store(word); // a frame of the card
    yield* card.request.compareExchange(request, IDLE);
  }
};

/** A store of the CPU, with the fault that makes the page writable. */
const store: Body = function* (_world, harness) {
  const { machine, mm } = harness;
  assert((yield* cpuFault(machine, mm, HARNESS_PAGE, true)) === 0, "the CPU may store");
};

const discard: Body = (_world, harness) => harness.discard(HARNESS_PAGE, 1);

/** The card's own table is the one that the service keeps, and copies are copies. */
function check({ card, device }: World, harness: HmmHarness): void {
  const { words } = harness.machine.memory;
  const own = words[card.table[0]!.at]!; // it has PAGES
  const kept = device.table.entryOf(HARNESS_PAGE);
  assert(own === kept, `the card's entry is ${own}, and the service has ${kept}`);
  if ((own & (ENTRY_PRESENT | ENTRY_LOCAL)) !== (ENTRY_PRESENT | ENTRY_LOCAL)) return;
  const copy = words[card.memory[entryFrameNumber(own)]!.at]!; // so the entry says
  const word = wordOf(harness, HARNESS_PAGE, 0);
  assert(copy === word, `the card's copy says ${copy}, the page ${word}`);
}

const RESOLVE = [
  "devices/service/fault-service.resolve",
  "devices/service/block-service.serve",
  "devices/service/span-service.serve",
] as const;
const INVALIDATE = [
  "devices/service/mirror-ops.invalidate",
  "devices/service/device-table.dropRange",
] as const;

function make(
  name: string,
  summary: string,
  other: Readonly<Record<string, Body>>,
  Class: CardClass = Card,
  expects?: FindingKind,
): AnyScenario {
  return harnessScenario<World>({
    name: `coverage/devices/${name}`,
    summary,
    exploration: { engine: "bounded", preemptions: 2, timeouts: 0 },
    mayRemain: ["table"],
    harness: { pages: PAGES },
    setup: (harness) => makeWorld(harness, Class),
    tasks: { read, dma, ...other },
    check,
    ...(expects === undefined ? {} : { expects }),
  });
}

export const otherDevices: readonly Covered[] = [
  {
    layer: "devices",
    scenario: make(
      "other-read-vs-store",
      "A card whose pages another thread copies brings one to which the CPU stores.",
      { store },
    ),
    twins: [
      make(
        "other-read-vs-store/answers-early",
        "The card says that a page is copied before it is.",
        { store },
        AnswersEarly,
        "assertion",
      ),
    ],
    runs: { read: RESOLVE, dma: [], store: ["mm/fault/cpu-fault.cpuFault"] },
  },
  {
    layer: "devices",
    scenario: make(
      "other-read-vs-discard",
      "A card with a table of its own brings a page that the CPU discards.",
      { discard },
    ),
    twins: [
      make(
        "other-read-vs-discard/does-not-flush",
        "The card goes on with what it has in its own table.",
        { discard },
        DoesNotFlush,
        "assertion",
      ),
    ],
    runs: { read: RESOLVE, dma: [], discard: ["mm/calls/madvise.doMadvise", ...INVALIDATE] },
  },
];

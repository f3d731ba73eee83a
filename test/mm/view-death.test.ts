/**
 * @module A thread dies while it opens or closes a view of so many pages that have to move that it
 * cannot note them at once: nothing is lost. The twin notes none of them.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Machine } from "../../src/memory/machine.ts";
import { doMmap } from "../../src/mm/calls/mmap.ts";
import { cpuFault } from "../../src/mm/fault/cpu-fault.ts";
import { mmCreate } from "../../src/mm/lifetime/mm.ts";
import { mmapWriteLock } from "../../src/mm/migration.ts";
import { Mm } from "../../src/mm/mm-struct.ts";
import { PAGE_BYTES } from "../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../src/mm/view/view-open.ts";
import { VM_READ, VM_WRITE } from "../../src/mm/vma/vma.ts";
import { panicInfo } from "../../src/sync/death/panic.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { CutThread } from "../cut-thread.ts";

/** In two page tables: they move in two turns. */
const PAGES = 600;

interface World {
  readonly machine: Machine;
  readonly mm: Mm;
  readonly startPage: number;
  readonly pages: number;
}

/** Pages whose frames are not in a row. */
function makeWorld(pages: number): World {
  const machine = Machine.create({ ramBytes: 12 << 20, heapBytes: 8 << 20, debug: false });
  const run = <T>(task: Task<T>): T => runBlocking(machine.memory, task);
  const mm = Mm.at(machine.memory, run(mmCreate(machine)));
  const lengthBytes = pages * PAGE_BYTES;
  const protection = VM_READ | VM_WRITE;
  const anywhere = { address: 0, placement: 0, shared: false, bufferPfn: 0, offsetPages: 0 };
  const address = run(doMmap(machine, mm, { ...anywhere, lengthBytes, protection }));
  const startPage = address / PAGE_BYTES;
  for (let i = pages - 1; i >= 0; i--)
    assert.equal(run(cpuFault(machine, mm, startPage + i, true)), 0);
  return { machine, mm, startPage, pages };
}

type Body = (machine: Machine, world: World) => Task<unknown>;

const view: Body = function* (machine, { mm, startPage, pages }) {
  const own = Mm.at(machine.memory, mm.at);
  const at = yield* viewOpen(machine, own, startPage, startPage + pages, true);
  assert.ok(at > 0, `the view answered ${at}`);
  yield* viewClose(machine, at);
};

/** Takes a row that nothing notes, and gives it back. */
const rowUnnoted: Body = function* (machine, { mm, pages }) {
  const own = Mm.at(machine.memory, mm.at);
  const pfn = yield* machine.ram.allocRun(pages, true);
  yield* mmapWriteLock(machine, own);
  yield* own.mmapLock.upWrite();
  yield* machine.ram.refs.pagePutAll(Array.from({ length: pages }, (_, i) => pfn + i));
};

/** What there is more than before, when a thread has died in it; undefined: it ended. */
function lostAfter(body: Body, pages: number, looks: number): Lost | undefined {
  const world = makeWorld(pages);
  const { machine } = world;
  const victim = new CutThread(machine);
  if (!victim.runAndDie(machine, (own) => body(own, world), looks)) return undefined;
  runBlocking(machine.memory, view(machine, world));
  assert.equal(panicInfo(machine.memory), undefined);
  const { references, pins } = machine.ram.refs.total();
  return { frames: machine.ram.usage().usedPages - pages, references: references - pages, pins };
}

interface Lost {
  readonly frames: number;
  readonly references: number;
  readonly pins: number;
}

/** As many looks apart are the deaths. */
const STEP = 61;
/** More than a view takes. */
const LOOKS_MAX = 5000;

test("a death in a view of many pages that move loses nothing", () => {
  let deaths = 0;
  for (let looks = 0; looks < LOOKS_MAX; looks += STEP, deaths++) {
    const lost = lostAfter(view, PAGES, looks);
    if (lost === undefined) break;
    assert.deepEqual(lost, { frames: 0, references: 0, pins: 0 }, `after ${looks} looks`);
  }
  assert.ok(deaths > 5 && deaths < LOOKS_MAX / STEP, `${deaths} deaths`);
});

test("a row that nothing notes is lost, and found so", () => {
  const deaths = Array.from({ length: 30 }, (_, looks) => lostAfter(rowUnnoted, 2, looks));
  assert.ok(deaths.some((lost) => lost?.frames === 2));
});

/**
 * @module Views as their objects open and close them, and what they find out: a view of a buffer
 * that has not arrived in the thread is given back, a store through a read view is told.
 */

import { RIG_PAGE, rigScenario } from "../../../../src/checker/rig/hmm-rig.ts";
import type { HmmRig } from "../../../../src/checker/rig/hmm-rig.ts";
import { RigCpu } from "../../../../src/checker/rig/rig-cpu.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { Machine } from "../../../../src/memory/machine.ts";
import { doMmap } from "../../../../src/mm/mmap.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { closeView, openView } from "../../../../src/space/view-tasks.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/task.ts";
import type { Covered } from "../covered.ts";
import { codeOf, mapping } from "./stage.ts";

const ADDRESS: number = RIG_PAGE * PAGE_BYTES;
const LENGTH_BYTES = 16;
/** Where a buffer is mapped that this thread has not been given. */
const FOREIGN: number = 128 * PAGE_BYTES;

type Body = (shared: undefined, rig: HmmRig) => Task<unknown>;

function* openAndClose(_shared: undefined, { machine, mm }: HmmRig): Task<void> {
  const view = yield* openView(machine, mm, ADDRESS, LENGTH_BYTES, "write");
  view.bytes[1] = 9;
  assert(
    (yield* closeView(machine, view, ADDRESS)) === undefined,
    "a store through a write view is none too many",
  );
}

function* everyView(shared: undefined, rig: HmmRig): Task<void> {
  const { machine, mm } = rig;
  yield* openAndClose(shared, rig);
  assert(
    (yield* new RigCpu(rig).load(ADDRESS)) === 9 << 8,
    "what was stored through a view is not there",
  );
  const view = yield* openView(machine, mm, ADDRESS + 4, LENGTH_BYTES, "read");
  assert(
    (yield* closeView(machine, view, ADDRESS + 4)) === undefined,
    "nobody stored through the view",
  );
  const stray = yield* openView(machine, mm, ADDRESS + 4, LENGTH_BYTES, "read");
  stray.bytes[3] = 1;
  const at = yield* closeView(machine, stray, ADDRESS + 4);
  assert(at === ADDRESS + 7, `a stray store to ${ADDRESS + 7} was found at ${at ?? "no address"}`);
}

/** The mapping can be counted, pinned and viewed; only its bytes cannot be had. */
function* viewUnreached(_shared: undefined, { machine, mm }: HmmRig): Task<void> {
  for (const mode of ["read", "write"] as const) {
    const code = yield* codeOf(openView(machine, mm, FOREIGN, LENGTH_BYTES, mode));
    assert(code === "ENXIO", `a view of a buffer that is not here answered "${code}"`);
  }
}

/**
 * In the set-up: a buffer that another thread has added and mapped, and this one has not
 * received.
 */
function mapForeign(rig: HmmRig): void {
  const other = Machine.attach(rig.machine.handle, { name: "other" });
  const bufferPfn = rig.run(other.ram.addSection(new SharedArrayBuffer(PAGE_BYTES)));
  other.detach();
  const at = rig.run(doMmap(rig.machine, rig.mm, { ...mapping(1, FOREIGN), bufferPfn }));
  if (at !== FOREIGN) bug(`Cannot map another thread's buffer: ${at}`);
}

function* loadBeside(_shared: undefined, rig: HmmRig): Task<void> {
  yield* new RigCpu(rig).store(ADDRESS, 3);
}

function* readView(_shared: undefined, { machine, mm }: HmmRig): Task<void> {
  const view = yield* openView(machine, mm, ADDRESS, LENGTH_BYTES, "read");
  const stray = yield* closeView(machine, view, ADDRESS);
  assert(stray === undefined, "a store that a mapping allowed counts as a stray one");
}

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly exploration?: ScenarioExploration;
  readonly prepare?: (rig: HmmRig) => void;
  readonly tasks: Readonly<Record<string, readonly [runs: readonly string[], body: Body]>>;
}

function viewing({ name, summary, exploration, prepare, tasks }: Parts): Covered {
  const entries = Object.entries(tasks);
  return {
    layer: "space",
    scenario: rigScenario<undefined>({
      name: `coverage/space/${name}`,
      summary,
      rig: { pages: 1, arenaWords: 8192 },
      ...(exploration === undefined ? {} : { exploration }),
      setup(rig) {
        prepare?.(rig);
        return undefined;
      },
      tasks: Object.fromEntries(entries.map(([task, [, body]]) => [task, body])),
      balanced: true,
    }),
    twins: [],
    runs: Object.fromEntries(entries.map(([task, [runs]]) => [task, runs])),
  };
}

const VIEW = [
  "space/view-tasks.openView",
  "space/view-tasks.closeView",
  "mm/view-open.viewClose",
] as const;

export const views: readonly Covered[] = [
  viewing({
    name: "alone/views",
    summary: "Views are opened and closed; a store through a read view is found where it was made.",
    tasks: { task: [[...VIEW, "mm/view-watch.findStrayStore"], everyView] },
  }),
  viewing({
    name: "alone/view-of-what-is-not-here",
    summary:
      "A view of a buffer that the thread has not received is refused, and nothing of it is left.",
    prepare: mapForeign,
    tasks: { task: [["space/view-tasks.openView", "mm/view-open.viewClose"], viewUnreached] },
  }),
  viewing({
    name: "read-view-vs-store",
    summary: "A read view is open while another thread stores to the page, as the mapping allows.",
    exploration: { engine: "bounded", preemptions: 1 },
    tasks: { view: [VIEW, readView], store: [["mmu/widths/u32-access.store"], loadBeside] },
  }),
];

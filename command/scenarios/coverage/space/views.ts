/**
 * @module Views as their objects open and close them. A view of a buffer that has not arrived in
 * the thread is closed again; a store through a read view is reported.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { Machine } from "../../../../src/memory/machine.ts";
import { doMmap } from "../../../../src/mm/calls/mmap.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { closeView, openView } from "../../../../src/space/view-tasks.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { codeOf, mapping } from "./stage.ts";

const ADDRESS: number = HARNESS_PAGE * PAGE_BYTES;
const LENGTH_BYTES = 16;
/** The address of a buffer that this thread has not received. */
const FOREIGN: number = 128 * PAGE_BYTES;

type Body = (shared: undefined, harness: HmmHarness) => Task<unknown>;

function* openAndClose(_shared: undefined, { machine, mm }: HmmHarness): Task<void> {
  const view = yield* openView(machine, mm, ADDRESS, LENGTH_BYTES, "write");
  view.bytes[1] = 9;
  assert(
    (yield* closeView(machine, view, ADDRESS)) === undefined,
    "a store through a write view is none too many",
  );
}

function* everyView(shared: undefined, harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  yield* openAndClose(shared, harness);
  assert(
    (yield* new HarnessCpu(harness).load(ADDRESS)) === 9 << 8,
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

/** The mapping can be counted, pinned and held; only its bytes cannot be reached. */
function* viewUnreached(_shared: undefined, { machine, mm }: HmmHarness): Task<void> {
  for (const mode of ["read", "write"] as const) {
    const code = yield* codeOf(openView(machine, mm, FOREIGN, LENGTH_BYTES, mode));
    assert(code === "ENXIO", `a view of a buffer that is not here answered "${code}"`);
  }
}

/**
 * In the set-up: a buffer that another thread has added and mapped, and this one has not
 * received.
 */
function mapForeign(harness: HmmHarness): void {
  const other = Machine.attach(harness.machine.handle, { name: "other" });
  const bufferPfn = harness.run(other.ram.sections.add(new SharedArrayBuffer(PAGE_BYTES)));
  other.detach();
  const at = harness.run(
    doMmap(harness.machine, harness.mm, { ...mapping(1, FOREIGN), bufferPfn }),
  );
  if (at !== FOREIGN) bug(`Cannot map another thread's buffer: ${at}`);
}

function* loadBeside(_shared: undefined, harness: HmmHarness): Task<void> {
  yield* new HarnessCpu(harness).store(ADDRESS, 3);
}

function* readView(_shared: undefined, { machine, mm }: HmmHarness): Task<void> {
  const view = yield* openView(machine, mm, ADDRESS, LENGTH_BYTES, "read");
  const stray = yield* closeView(machine, view, ADDRESS);
  assert(stray === undefined, "a store that a mapping allowed counts as a stray one");
}

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly exploration?: ScenarioExploration;
  readonly prepare?: (harness: HmmHarness) => void;
  readonly tasks: Readonly<Record<string, readonly [runs: readonly string[], body: Body]>>;
}

function viewing({ name, summary, exploration, prepare, tasks }: Parts): Covered {
  const entries = Object.entries(tasks);
  return {
    layer: "space",
    scenario: harnessScenario<undefined>({
      name: `coverage/space/${name}`,
      summary,
      harness: { pages: 1, arenaWords: 8192 },
      ...(exploration === undefined ? {} : { exploration }),
      setup(harness) {
        prepare?.(harness);
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
  "mm/view/view-open.viewClose",
] as const;

export const views: readonly Covered[] = [
  viewing({
    name: "alone/views",
    summary:
      "Views are opened and closed; a store through a read view is reported with its address.",
    tasks: { task: [[...VIEW, "mm/view/view-watch.findStrayStore"], everyView] },
  }),
  viewing({
    name: "alone/view-of-what-is-not-here",
    summary:
      "A view of a buffer that the thread has not received is refused, and nothing of it remains.",
    prepare: mapForeign,
    tasks: { task: [["space/view-tasks.openView", "mm/view/view-open.viewClose"], viewUnreached] },
  }),
  viewing({
    name: "read-view-vs-store",
    summary: "A read view is open while another thread stores to the page, as the mapping allows.",
    exploration: { engine: "bounded", preemptions: 1 },
    tasks: { view: [VIEW, readView], store: [["mmu/widths/u32-access.store"], loadBeside] },
  }),
];

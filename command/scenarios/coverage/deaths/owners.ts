/**
 * @module A thread that dies at any point of having something: a range, a mirror, a view, a hold of
 * a space. What it had is given back by the shipped releasers while others go on, or the machine
 * stops with EOWNERDEAD, and nobody waits for ever.
 *
 * The last step of each owner says that it has all that it wants, and lives: so the check knows
 * which of the two must be.
 */

import { Cell } from "../../../../src/checker/primitives/program.ts";
import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { hmmRangeAlloc, hmmRangeRegister } from "../../../../src/hmm/range/range.ts";
import type { HmmRange } from "../../../../src/hmm/range/range.ts";
import { Hmm } from "../../../../src/hmm/hmm-struct.ts";
import { rangesOf } from "../../../../src/hmm/range-tree.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { ViewHold } from "../../../../src/mm/view/view-hold.ts";
import { viewOpen } from "../../../../src/mm/view/view-open.ts";
import { watchView } from "../../../../src/mm/view/view-watch.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { removeResource } from "../../../../src/sync/lockdep/resources.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered, Layer } from "../covered.ts";

interface World {
  readonly device: HarnessDevice;
  /** Not registered at the beginning. */
  readonly other: HarnessDevice;
  /** 1 once the owner has all that it wants, and lives. */
  readonly owns: Cell;
  /** The range, while the execution goes on: its slot is what a twin takes off the list. */
  range: HmmRange | undefined;
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;

interface Owner {
  readonly layer: Layer;
  readonly name: string;
  readonly summary: string;
  readonly runs: readonly string[];
  readonly body: Body;
  readonly check: (world: World, harness: HmmHarness) => void;
  /** The same owner, that does not list what it has. */
  readonly unlisted?: Body;
}

interface Other {
  readonly name: string;
  readonly runs: readonly string[];
  readonly body: Body;
  /** Afterwards the address space has one user fewer, so it is gone unless the owner holds it. */
  readonly exits: boolean;
}

const START: number = HARNESS_PAGE * PAGE_BYTES;

function* registerRange(world: World, { machine }: HmmHarness): Task<boolean> {
  const range = yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(1) });
  if (typeof range === "number") return false;
  world.range = range;
  return (yield* hmmRangeRegister(range, world.device.mirror, START, START + PAGE_BYTES)) === 0;
}

function* ownRange(world: World, harness: HmmHarness): Task<void> {
  if (yield* registerRange(world, harness)) yield* world.owns.store(1);
}

function* ownUnlistedRange(world: World, harness: HmmHarness): Task<void> {
  if (!(yield* registerRange(world, harness)) || world.range === undefined) return;
  removeResource(harness.machine.memory, world.range.resourceSlot);
  yield* world.owns.store(1);
}

function* ownMirror({ other, owns }: World): Task<void> {
  if ((yield* other.register()) === 0) yield* owns.store(1);
}

function* ownUnlistedMirror({ other, owns }: World, { machine }: HmmHarness): Task<void> {
  if ((yield* other.register()) !== 0) return;
  removeResource(machine.memory, other.record.mirror.resourceSlot);
  yield* owns.store(1);
}

function* ownView({ owns }: World, { machine, mm }: HmmHarness): Task<void> {
  if ((yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true)) > 0)
    yield* owns.store(1);
}

function* ownUnlistedView({ owns }: World, { machine, mm }: HmmHarness): Task<void> {
  const at = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true);
  if (at < 0) return;
  removeResource(machine.memory, ViewHold.at(machine.memory, at).slot);
  yield* owns.store(1);
}

/** Opens a read view and watches it, as a debug build does. Returns its hold, or undefined. */
function* watchedView({ machine, mm }: HmmHarness): Task<ViewHold | undefined> {
  const at = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, false);
  if (at < 0) return undefined;
  const hold = ViewHold.at(machine.memory, at);
  const start = machine.ram.sections.wordIndex(hold.pfn) * 4;
  const bytes = machine.ram.sections.of(hold.pfn).u8.subarray(start, start + PAGE_BYTES);
  yield* watchView(machine, hold, bytes, 0);
  return hold;
}

function* ownWatchedView({ owns }: World, harness: HmmHarness): Task<void> {
  if ((yield* watchedView(harness)) !== undefined) yield* owns.store(1);
}

function* ownUnlistedWatchedView({ owns }: World, harness: HmmHarness): Task<void> {
  const hold = yield* watchedView(harness);
  if (hold === undefined) return;
  removeResource(harness.machine.memory, hold.slot);
  yield* owns.store(1);
}

function hmmOf({ device }: World, { machine }: HmmHarness): Hmm {
  return Hmm.at(machine.memory, device.record.mirror.hmm);
}

function countOf(list: { nodes(): Iterable<number> }): number {
  return Array.from(list.nodes()).length;
}

const owners: readonly Owner[] = [
  {
    layer: "hmm",
    name: "range",
    summary: "a registered range",
    runs: [
      "hmm/range/range.hmmRangeAlloc",
      "hmm/range/range.hmmRangeRegister",
      "sync/death/reaper.reapTask",
    ],
    body: ownRange,
    unlisted: ownUnlistedRange,
    check(world, harness) {
      const ranges = rangesOf(hmmOf(world, harness)).length;
      assert(
        ranges === world.owns.peek(),
        `${ranges} ranges are registered, and ${world.owns.peek()} threads have one`,
      );
    },
  },
  {
    layer: "hmm",
    name: "mirror",
    summary: "a registered mirror",
    runs: ["hmm/mirror/mirror.hmmMirrorRegister", "sync/death/reaper.reapTask"],
    body: ownMirror,
    unlisted: ownUnlistedMirror,
    check(world, harness) {
      const mirrors = countOf(hmmOf(world, harness).mirrors);
      assert(
        mirrors === 1 + world.owns.peek(),
        `${mirrors} mirrors are registered, one of them by a dead thread`,
      );
    },
  },
  {
    layer: "mm",
    name: "view",
    summary: "a view that keeps devices out",
    runs: ["mm/view/view-open.viewOpen", "sync/death/reaper.reapTask"],
    body: ownView,
    unlisted: ownUnlistedView,
    check({ owns }, { mm }) {
      const holds = countOf(mm.holds);
      assert(
        holds === owns.peek(),
        `${holds} views are open, and ${owns.peek()} threads look at one`,
      );
    },
  },
  {
    layer: "mm",
    name: "watched-view",
    summary: "a read view that is watched for stray stores",
    runs: [
      "mm/view/view-open.viewOpen",
      "mm/view/view-watch.watchView",
      "sync/death/reaper.reapTask",
    ],
    body: ownWatchedView,
    unlisted: ownUnlistedWatchedView,
    check({ owns }, harness) {
      const isWatched = harness.accounting().includes("viewWatch");
      // A page that was not there could not be watched, so there may be none.
      assert(!isWatched || owns.peek() === 1, "the view of a dead thread is still watched");
    },
  },
];

const INVALIDATE = [
  "hmm/mirror/invalidate.hmmInvalidateRangeStart",
  "hmm/mirror/invalidate.hmmInvalidateRangeEnd",
] as const;

const others: readonly Other[] = [
  {
    name: "madvise",
    runs: ["mm/calls/madvise.doMadvise", ...INVALIDATE],
    body: (_world, harness) => harness.discard(HARNESS_PAGE, 1),
    exits: false,
  },
  {
    name: "write",
    runs: ["mm/fault/cpu-fault.cpuFault"],
    body: (_world, { machine, mm }) => cpuFault(machine, mm, HARNESS_PAGE, true),
    exits: false,
  },
  {
    name: "exit",
    runs: ["mm/lifetime/mm.mmput"],
    body: (_world, { machine, mm }) => mmput(machine, mm),
    exits: true,
  },
];

function makeWorld(harness: HmmHarness): World {
  const at = harness.run(harness.machine.heap.allocWords(512));
  const owns = new Cell(harness.machine.memory, at, "owns");
  return {
    device: HarnessDevice.registered(harness),
    other: new HarnessDevice(harness),
    owns,
    range: undefined,
  };
}

function checkUsers(
  { device, owns }: World,
  { mm }: HmmHarness,
  holds: number,
  exits: boolean,
): void {
  const users = mm.users.read();
  const expected = holds * owns.peek() + (exits ? 0 : 1);
  assert(
    users === expected,
    `the address space has ${users} users, and ${expected} that know of it`,
  );
  if (users > 0) return;
  assert(mm.pgd === 0, "nobody uses the space, and it is still there");
  assert(device.entry(HARNESS_PAGE) === 0, "a device has a translation of a space that is gone");
}

function dying(owner: Owner, other: Other): Covered {
  const { layer } = owner;
  const name = `coverage/${layer}/death/${owner.name}-vs-${other.name}`;
  // Of a mirror's owner the space's users hear nothing.
  const holds = owner.name === "mirror" ? 0 : 1;
  const make = (fullName: string, body: Body, summary: string, isTwin: boolean): AnyScenario =>
    harnessScenario<World>({
      name: fullName,
      summary,
      exploration: { deaths: 1, engine: "bounded", preemptions: 2 },
      ...(isTwin ? { expects: "assertion" } : {}),
      harness: { pages: 1 },
      killable: ["owner"],
      setup: makeWorld,
      tasks: { owner: body, [other.name]: other.body },
      check(world, harness) {
        checkUsers(world, harness, holds, other.exits);
        if (!other.exits) owner.check(world, harness);
      },
    });
  const { unlisted } = owner;
  const twin = `The thread does not list ${owner.summary} among what it owns.`;
  return {
    layer,
    scenario: make(
      name,
      owner.body,
      `A thread dies at any point of getting ${owner.summary}, or when it has it, during ${other.name}.`,
      false,
    ),
    twins:
      unlisted === undefined || other.name !== "madvise"
        ? []
        : [make(`${name}/unlisted`, unlisted, twin, true)],
    runs: { owner: owner.runs, [other.name]: other.runs },
  };
}

export const deathsOfOwners: readonly Covered[] = owners.flatMap((owner) =>
  others
    // Opening a view, like registering a mirror, needs a user of the caller's.
    .filter(({ exits }) => !exits || owner.name === "range")
    .map((other) => dying(owner, other)),
);

/**
 * @module Every pair of: a device serves a fault, takes a snapshot; a mirror is registered and
 * unregistered; a CPU thread discards or unmaps the page, reclaims it without waiting, writes; and
 * an exit. At the end no device reaches a frame that is not the page's, and nothing is left.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import type { AnyScenario, ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { Hmm } from "../../../../src/hmm/hmm-struct.ts";
import { hmmRangeAlloc, hmmRangeFree, withHmmRange } from "../../../../src/hmm/range/range.ts";
import { hmmRangeSnapshot } from "../../../../src/hmm/walk/snapshot.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { MADV_DONTNEED, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { mmget, mmput } from "../../../../src/mm/lifetime/mm.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { zapNonBlocking } from "../../../../src/mm/entries/zap.ts";
import { EAGAIN, EBUSY, EFAULT } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { DONE_TRUE, type Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";

interface World {
  readonly device: HarnessDevice;
  /** Not registered by the set-up. */
  readonly other: HarnessDevice;
}

interface Act {
  readonly name: string;
  readonly runs: readonly string[];
  readonly body: (world: World, harness: HmmHarness) => Task<unknown>;
}

const ADDRESS: number = HARNESS_PAGE * PAGE_BYTES;
const RANGE = ["hmm/range/range.hmmRangeRegister", "hmm/range/range.hmmRangeUnregister"] as const;
const SERVE = [
  ...RANGE,
  "hmm/walk/fault.hmmRangeFault",
  "hmm/range/valid.hmmRangeValid",
  "hmm/range/valid.hmmRangeWaitUntilValid",
] as const;
const INVALIDATE = [
  "hmm/mirror/invalidate.hmmInvalidateRangeStart",
  "hmm/mirror/invalidate.hmmInvalidateRangeEnd",
] as const;

function* serve({ device }: World): Task<void> {
  const errno = yield* device.serve(HARNESS_PAGE, 1);
  assert([0, EBUSY, EFAULT].includes(errno), `the device's fault answered ${errno}`);
}

function* snapshot({ device }: World, { machine, mm }: HmmHarness): Task<void> {
  const range = yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(1) });
  if (typeof range === "number") throw new Error(`no range: ${range}`);
  const errno = yield* withHmmRange(
    range,
    device.mirror,
    ADDRESS,
    ADDRESS + PAGE_BYTES,
    function* () {
      yield* mm.mmapLock.downRead();
      const answer = yield* hmmRangeSnapshot(range);
      yield* mm.mmapLock.upRead();
      return answer < 0 ? answer : 0;
    },
  );
  assert([0, EBUSY, EAGAIN, EFAULT].includes(errno), `the snapshot answered ${errno}`);
  yield* hmmRangeFree(range);
}

function* comeAndGo({ other }: World): Task<void> {
  const errno = yield* other.register();
  assert(errno === 0, `registering answered ${errno}`);
  yield* other.unregister();
}

function* reap(_world: World, { machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  const errno = yield* zapNonBlocking(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1);
  assert(errno === 0 || errno === EAGAIN, `the reaper was answered ${errno}`);
  yield* mm.mmapLock.upRead();
}

const acts: readonly Act[] = [
  { name: "serve", runs: SERVE, body: serve },
  { name: "snapshot", runs: [...RANGE, "hmm/walk/snapshot.hmmRangeSnapshot"], body: snapshot },
  {
    name: "mirror",
    runs: [
      "hmm/mirror/mirror.hmmMirrorRegister",
      "hmm/mirror/mirror.hmmMirrorUnregister",
      "hmm/mirror/get-or-create.hmmGetOrCreate",
    ],
    body: comeAndGo,
  },
  {
    name: "madvise",
    runs: ["mm/calls/madvise.doMadvise", ...INVALIDATE],
    body: (_world, { machine, mm }) => doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_DONTNEED),
  },
  {
    name: "munmap",
    runs: ["mm/calls/munmap.doMunmap", ...INVALIDATE],
    body: (_world, { machine, mm }) => doMunmap(machine, mm, ADDRESS, PAGE_BYTES),
  },
  {
    name: "reap",
    runs: ["mm/entries/zap.zapNonBlocking", "hmm/mirror/invalidate.hmmInvalidateRangeStart"],
    body: reap,
  },
  {
    name: "write",
    runs: ["mm/fault/cpu-fault.cpuFault"],
    body: (_world, { machine, mm }) => cpuFault(machine, mm, HARNESS_PAGE, true),
  },
];

/** Two of these have too many orders to explore all. */
const devices: ReadonlySet<string> = new Set(["serve", "snapshot", "mirror"]);
const takers: ReadonlySet<string> = new Set(["madvise", "reap"]);
const BOUNDED: ScenarioExploration = { engine: "bounded", preemptions: 2 };

function together(first: Act, second: Act): Covered {
  const name = `coverage/hmm/${first.name}-vs-${second.name}`;
  const tasks = first === second ? [first.name, `${second.name} 2`] : [first.name, second.name];
  const [one = "", other = ""] = tasks;
  const isLong = [devices, takers].some((names) => names.has(first.name) && names.has(second.name));
  const make = (exploration: ScenarioExploration): AnyScenario =>
    harnessScenario<World>({
      name,
      summary: `${first.name} and ${second.name} at the same time, on one page of a mirrored space.`,
      exploration,
      mayRemain: [],
      harness: { pages: 1 },
      setup: (harness) => ({
        device: HarnessDevice.registered(harness),
        other: new HarnessDevice(harness),
      }),
      tasks: {
        [one]: (world, harness) => first.body(world, harness),
        [other]: (world, harness) => second.body(world, harness),
      },
      check: ({ device }, harness) => {
        device.requireCoherent();
        assert(
          harness.mm.users.read() === 1,
          `the space has ${harness.mm.users.read()} users, and one thread that uses it`,
        );
      },
    });
  return {
    layer: "hmm",
    scenario: make(isLong ? BOUNDED : {}),
    twins: [],
    runs: { [one]: first.runs, [other]: second.runs },
  };
}

/** A user of the space is dropped while `act` runs. The last one takes the space down. */
function againstExit(act: Act): Covered {
  const scenario = harnessScenario<World>({
    name: `coverage/hmm/exit-vs-${act.name}`,
    summary: `One of two users is dropped while the other does its ${act.name} and is dropped: the device is released once, and reaches nothing.`,
    harness: { pages: 1 },
    mayRemain: [],
    exploration: act.name === "mirror" ? BOUNDED : {},
    setup: (harness) => {
      harness.run(mmget(harness.mm));
      return { device: HarnessDevice.registered(harness), other: new HarnessDevice(harness) };
    },
    tasks: {
      exit: (_world, { machine, mm }) => mmput(machine, mm),
      *[act.name](world, harness) {
        yield* act.body(world, harness);
        yield* mmput(harness.machine, harness.mm);
      },
    },
    check: ({ device }, harness) => {
      assert(
        device.entry(HARNESS_PAGE) === 0,
        "a device has a translation of a space that is gone",
      );
      assert(harness.mm.users.read() === 0 && harness.mm.pgd === 0, "the space is still there");
      const { releasedWithRanges, mirrorErrors, notifiers } = Hmm.at(
        harness.machine.memory,
        harness.mm.hmm,
      );
      const told = `${releasedWithRanges}, ${mirrorErrors}, ${notifiers}`;
      assert(told === "0, 0, 0", `released with ranges, errors, in flight: ${told}`);
    },
  });
  const exit = ["mm/lifetime/mm.mmput", "hmm/mirror/invalidate.hmmRelease"];
  return { layer: "hmm", scenario, twins: [], runs: { exit, [act.name]: [...act.runs, ...exit] } };
}

/** The driver without the recheck: beside each act that frees the page it is caught. */
function unrecheckedTwin({ layer, scenario, runs }: Covered, act: Act): Covered {
  const twin = harnessScenario<World>({
    name: `${scenario.name}/does-not-recheck`,
    summary: "The driver does not recheck under its lock whether the range is valid.",
    expects: "assertion",
    harness: { pages: 1 },
    setup: (harness) => ({
      device: HarnessDevice.registered(harness),
      other: new HarnessDevice(harness),
    }),
    tasks: {
      serve: ({ device }) => device.serve(HARNESS_PAGE, 1, { isValid: () => DONE_TRUE }),
      [act.name]: (world, harness) => act.body(world, harness),
    },
    check: ({ device }) => device.requireCoherent(),
  });
  return { layer, scenario, runs, twins: [twin] };
}

export const hmmPairs: readonly Covered[] = [
  ...acts.flatMap((first, i) =>
    // there is one mirror to register
    acts.slice(first.name === "mirror" ? i + 1 : i).map((second) => {
      const pair = together(first, second);
      const freesPage = ["madvise", "munmap"].includes(second.name);
      return first.name === "serve" && freesPage ? unrecheckedTwin(pair, second) : pair;
    }),
  ),
  ...acts.map(againstExit),
];

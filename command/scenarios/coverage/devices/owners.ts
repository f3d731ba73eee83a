/**
 * @module Who is the service owner (devices/service/service-owner.ts), among three threads of a
 * device that have recorded a fault each. A span is only noted as served, which keeps rounds
 * short. Who was told that its fault has been served finds it noted, and nobody waits for ever.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { Cell } from "../../../../src/checker/primitives/program.ts";
import type { FindingKind } from "../../../../src/checker/findings/finding.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { DeviceRecord } from "../../../../src/devices/service/device-record.ts";
import { viewDevice } from "../../../../src/devices/software/view-device.ts";
import { FaultRing } from "../../../../src/devices/service/fault-ring.ts";
import { FaultService } from "../../../../src/devices/service/fault-service.ts";
import type { SpanServiceClass } from "../../../../src/devices/service/fault-service.ts";
import { resignServiceOwner } from "../../../../src/devices/service/service-owner.ts";
import { SpanService } from "../../../../src/devices/service/span-service.ts";
import type { SpanRequest, SpanResult } from "../../../../src/devices/service/span-service.ts";
import { WANT_READ } from "../../../../src/devices/service/wants.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { selectAgent } from "../../../../src/sync/runners/agents.ts";
import { liveAgent } from "../../../../src/sync/tasks/identity.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { makeDevice } from "./stage.ts";
import type { DeviceWorld } from "./stage.ts";

const THREADS = 3;

interface World extends DeviceWorld {
  /** By thread. They keep nothing from one round to the next. */
  readonly services: readonly FaultService[];
  readonly rings: readonly FaultRing[];
  /** By thread and so by page, 1 when its fault has been served. */
  readonly served: readonly Cell[];
  readonly serviceOwner: Cell;
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;

/** Notes which pages it was asked for. */
function noting(served: readonly Cell[]): SpanServiceClass {
  return class extends SpanService {
    override *serve({ startPage, wants }: SpanRequest): Task<SpanResult> {
      for (const [i, want] of wants.entries())
        // each has one
        if (want >= WANT_READ) yield* served[startPage + i - HARNESS_PAGE]!.store(1);
      return { hasCollided: false, failures: [], copies: 0 };
    }
  };
}

/** Each thread's fault waits in its ring. */
function makeWorld(harness: HmmHarness): World {
  const { machine } = harness;
  const { memory, heap } = machine;
  const at = harness.run(heap.allocWords(512));
  const served = Array.from({ length: THREADS }, (_, i) => new Cell(memory, at + i, `served ${i}`));
  const { software, record } = makeDevice(harness, 1, THREADS);
  const serviceOwner = new Cell(
    memory,
    record.at + DeviceRecord.offset.serviceOwner,
    "service owner",
  );
  const rings = served.map((_, i) => new FaultRing(memory, record.rings.get(i)));
  const services = rings.map((ring, i) => {
    ring.put(HARNESS_PAGE + i, false);
    const service = harness.run(FaultService.open(viewDevice(machine, software), noting(served)));
    assert(typeof service !== "number", "a service can be had");
    return service;
  });
  return { software, record, services, rings, served, serviceOwner };
}

function serving(thread: number, before?: (world: World) => Task<void>): Body {
  return function* (world) {
    if (before !== undefined) yield* before(world);
    yield* world.services[thread]!.serveWaiting(world.rings[thread]!); // each has one
    const isServed = (yield* world.served[thread]!.load()) === 1;
    assert(isServed, "a thread was told that its fault has been served, and it has not");
  };
}

const RUNS = [
  "devices/service/service-owner.becomeServiceOwner",
  "devices/service/service-owner.resignServiceOwner",
  "devices/service/fault-service.serveWaiting",
] as const;

/**
 * The first thread is the service owner, and has taken out its own fault only: the others came
 * later.
 */
function makeWorldInRound(harness: HmmHarness): World {
  const world = makeWorld(harness);
  world.rings[0]?.drain(() => {});
  world.record.batchesBegun = 1;
  const { memory } = harness.machine;
  const self = memory.agentId;
  selectAgent(memory, 1); // which the first task plays
  world.record.serviceOwner = liveAgent(memory);
  selectAgent(memory, self);
  return world;
}

/** As at the end of a round. */
const drop: Body = ({ record }) => resignServiceOwner(record);

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly setup?: (harness: HmmHarness) => World;
  readonly first: Body;
  readonly expects?: FindingKind;
}

function make({ setup = makeWorld, first, ...rest }: Parts): AnyScenario {
  return harnessScenario<World>({
    ...rest,
    exploration: { engine: "bounded", preemptions: 2, timeouts: 0 },
    harness: { pages: THREADS },
    setup,
    tasks: { first, second: serving(1), third: serving(2) },
    check: ({ record }) =>
      assert(record.serviceOwner === 0, "a thread has stayed the service owner"),
  });
}

const NAME = "coverage/devices/service-of-three";

export const serviceOwners: readonly Covered[] = [
  {
    layer: "devices",
    scenario: make({
      name: NAME,
      summary:
        "Three threads of the device have recorded a fault each: one serves all, or each its own.",
      first: serving(0),
    }),
    twins: [
      make({
        name: `${NAME}/takes-anyway`,
        summary: "A thread says that there is no service owner, whoever it is.",
        first: serving(0, ({ serviceOwner }) => serviceOwner.store(0)),
        expects: "assertion",
      }),
    ],
    runs: { first: RUNS, second: RUNS, third: RUNS },
  },
  {
    layer: "devices",
    scenario: make({
      name: "coverage/devices/service-handed-over",
      summary:
        "A round ends that has not taken the faults of two other threads: they are served by one of them.",
      setup: makeWorldInRound,
      first: drop,
    }),
    twins: [],
    runs: {
      first: ["devices/service/service-owner.resignServiceOwner"],
      second: RUNS,
      third: RUNS,
    },
  },
];

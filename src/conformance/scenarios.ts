/**
 * @module conformance/scenarios
 * The part of the contract that no run can show for sure, as scenarios for the checker: in every
 * order of the steps, with few preemptions, a device uses no page that is gone.
 */

import type { ExploreOptions } from "../checker/explore.ts";
import { HARNESS_PAGE, type HmmHarness, harnessScenario } from "../checker/harness/hmm-harness.ts";
import type { AnyScenario } from "../checker/scenario.ts";
import { EBUSY, type HmmMirror, PAGE_BYTES, type Task, errnoName } from "../driver-interface.ts";
import type { Demand } from "./demands.ts";
import type { DriverUnderTest } from "./driver-under-test.ts";

/** A scenario for `explore` of hmm-ts/checker, and how far it is explored. */
export interface ConformanceScenario {
  /** What the driver must do, in a line. */
  readonly name: string;
  /** The demands that it tests. */
  readonly demands: readonly Demand[];
  /** What is explored. */
  readonly scenario: AnyScenario;
  /** How far it is explored. */
  readonly options: ExploreOptions;
}

const ADDRESS = HARNESS_PAGE * PAGE_BYTES;
/** Enough for what has been found of broken drivers so far; more takes long. */
const OPTIONS: ExploreOptions = { engine: "bounded", preemptions: 1, timeouts: 1 };

type Body = (mirror: HmmMirror, harness: HmmHarness) => Task<unknown>;

function scenarioOf(
  subject: DriverUnderTest,
  name: string,
  tasks: Readonly<Record<string, Body>>,
): AnyScenario {
  const serve = subject.serve?.bind(subject);
  const served: Record<string, Body> = serve === undefined ? {} : { device: serve };
  return harnessScenario<HmmMirror>({
    name: `${subject.opsName}: ${name}`,
    harness: { pages: 1 },
    setup: (harness) => {
      const mirror = harness.run(subject.open(harness.machine, harness.mm));
      if (typeof mirror === "number") throw new Error(`no device: ${errnoName(mirror)}`);
      return mirror;
    },
    tasks: { ...served, ...tasks },
  });
}

/** One read, which must succeed or time out: the checker lets any wait that has a time do so. */
function* readOnce(subject: DriverUnderTest, mirror: HmmMirror): Task<void> {
  const errno = yield* subject.read(mirror, ADDRESS, new Uint8Array(4));
  if (errno !== 0 && errno !== EBUSY) throw new Error(`a read answers ${errnoName(errno)}`);
}

/** The scenarios for a driver. */
export function conformanceScenarios(subject: DriverUnderTest): ConformanceScenario[] {
  const migrate = subject.migrate?.bind(subject);
  const stop = (mirror: HmmMirror): Task<void> | undefined => subject.stop?.(mirror);
  function* reader(mirror: HmmMirror): Task<void> {
    yield* readOnce(subject, mirror);
    const stopping = stop(mirror);
    if (stopping !== undefined) yield* stopping;
  }
  const make = (
    name: string,
    demands: readonly Demand[],
    tasks: Readonly<Record<string, Body>>,
  ): ConformanceScenario => ({
    name,
    demands,
    scenario: scenarioOf(subject, name, tasks),
    options: OPTIONS,
  });
  const scenarios = [
    make("reads a page that is given up", ["recheck", "finish-before-return"], {
      reader,
      discard: (_mirror, harness) => harness.discard(HARNESS_PAGE, 1),
    }),
  ];
  if (migrate === undefined) return scenarios;
  return [
    ...scenarios,
    make("moves a page that the CPU touches", ["lost-race"], {
      *migrate(mirror) {
        const pages = yield* migrate(mirror, HARNESS_PAGE, 1);
        if (pages < 0) throw new Error(`a migration answers ${errnoName(pages)}`);
        const stopping = stop(mirror);
        if (stopping !== undefined) yield* stopping;
      },
      *touch(_mirror, harness) {
        const errno = yield* harness.touch(HARNESS_PAGE);
        if (errno < 0) throw new Error(`a touch answers ${errnoName(errno)}`);
      },
    }),
  ];
}

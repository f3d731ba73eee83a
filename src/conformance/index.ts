/**
 * @module hmm-ts/driver/conformance
 * What any driver must show, as cases to run on real address spaces, and as scenarios for the
 * checker. Our software device passes them, and so does the example of docs/DRIVERS.md.
 *
 * @example
 * ```ts fragment
 * import { test } from "node:test";
 * import { explore } from "hmm-ts/checker";
 * import { conformanceCases, conformanceScenarios } from "hmm-ts/driver/conformance";
 * import { driverUnderTest } from "./my-driver.js";
 *
 * for (const { name, run } of conformanceCases(driverUnderTest)) test(name, run);
 * for (const { name, scenario, options } of conformanceScenarios(driverUnderTest))
 *   test(name, () => {
 *     const { findings } = explore(scenario, options);
 *     if (findings.length > 0) throw new Error(findings[0].message);
 *   });
 * ```
 */

import "../host/consumer-types.ts";

import { type ConformanceCase } from "./demands.ts";
import type { DriverUnderTest } from "./driver-under-test.ts";
import { lifetimeCases } from "./lifetime-cases.ts";
import { mappingCases } from "./mapping-cases.ts";
import { memoryCases } from "./memory-cases.ts";
import type { ConformanceOptions } from "./stage.ts";

export { ConformanceFailure, DEMANDS, type ConformanceCase, type Demand } from "./demands.ts";
export type { DriverUnderTest } from "./driver-under-test.ts";
export { conformanceScenarios, type ConformanceScenario } from "./scenarios.ts";
export type { ConformanceOptions } from "./stage.ts";

/**
 * The cases for a driver: those for what it can do. Run them one after the other, in one thread:
 * each watches the driver's call-backs in this thread. A case makes a machine of its own, and
 * rejects with ConformanceFailure, which says what was found.
 */
export function conformanceCases(
  subject: DriverUnderTest,
  options: ConformanceOptions = {},
): ConformanceCase[] {
  return [
    ...lifetimeCases(subject, options),
    ...mappingCases(subject, options),
    ...memoryCases(subject, options),
  ];
}

/** What any driver must show, shown by the card: on real address spaces, and explored. */

import { explore } from "hmm-ts/checker";
import { conformanceCases, conformanceScenarios } from "hmm-ts/driver/conformance";
import { driverUnderTest } from "./card-under-test.js";

let failed = 0;
for (const { name, run } of conformanceCases(driverUnderTest)) {
  try {
    await run();
    console.log(`ok: ${name}`);
  } catch (error) {
    console.log(`FAILED: ${name}: ${error instanceof Error ? error.message : "?"}`);
    failed++;
  }
}
for (const { name, scenario, options } of conformanceScenarios(driverUnderTest)) {
  const { findings, complete } = explore(scenario, options);
  const isFine = findings.length === 0 && complete;
  console.log(isFine ? `ok, explored: ${name}` : `FAILED: ${name}: ${findings[0]?.message}`);
  if (!isFine) failed++;
}
if (failed > 0) throw new Error(`${failed} failed`);

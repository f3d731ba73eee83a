/**
 * @module Our software device does what is demanded of any driver, with each kind of memory; and
 * what is demanded is shown by some case.
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import { DEMANDS, conformanceCases, conformanceScenarios } from "../../src/conformance/index.ts";
import { DEVICE_PRIVATE } from "../../src/driver.ts";
import { ownCoherent, ownPrivate, remote, softwareDevice } from "./software-devices.ts";

/** No clock decides what is explored. */
const FOR_EVER_MS = 2 ** 30;

for (const [name, driver] of Object.entries({ remote, ownPrivate, ownCoherent })) {
  describe(`the software device, ${name}`, () => {
    for (const { name: what, run } of conformanceCases(driver)) test(what, run);
  });
}

const explored = softwareDevice("ownPrivate", DEVICE_PRIVATE, FOR_EVER_MS);
for (const { name, scenario, options } of conformanceScenarios(explored)) {
  test(`the software device, explored: ${name}`, () => {
    const { findings, complete } = explore(scenario, options);
    assert.deepEqual([findings.map(({ message }) => message), complete], [[], true]);
  });
}

test("every demand is shown by a case or a scenario", () => {
  const shown = new Set(
    [...conformanceCases(ownPrivate), ...conformanceScenarios(explored)].flatMap(
      ({ demands }) => demands,
    ),
  );
  assert.deepEqual(
    Object.keys(DEMANDS).filter((one) => ![...shown].some((other) => other === one)),
    [],
  );
});

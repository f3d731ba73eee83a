/**
 * @module A small driver does what is demanded; broken in one place at a time, it is caught by the
 * case that is about that place.
 */

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import { conformanceCases, conformanceScenarios } from "../../src/conformance/index.ts";
import { type Breakage, breakDriver, driverUnderTest } from "./small-device.ts";

describe("a small driver", () => {
  for (const { name, run } of conformanceCases(driverUnderTest)) test(name, run);
  for (const { name, scenario, options } of conformanceScenarios(driverUnderTest)) {
    test(`explored: ${name}`, () => {
      const { findings, complete } = explore(scenario, options);
      assert.deepEqual([findings.map(({ message }) => message), complete], [[], true]);
    });
  }
});

/** Which case must fail, and how. */
const TWINS: readonly (readonly [how: Breakage, name: string, message: RegExp])[] = [
  ["invalidate does nothing", "cannot reach a page on when its mapping has changed", /reaches/],
  [
    "waits where it may not block",
    "answers EAGAIN where it may not block, and has changed nothing",
    /waits for the driver lock/,
  ],
  [
    "clears, and answers EAGAIN",
    "answers EAGAIN where it may not block, and has changed nothing",
    /has cleared/,
  ],
  [
    "goes on after release",
    "lets the space die, is told once, and fails from then on",
    /reaches a page/,
  ],
  [
    "keeps an mm user",
    "lets the space die, is told once, and fails from then on",
    /called 0 times/,
  ],
  [
    "leaves a range registered",
    "cannot reach a page on when its mapping has changed",
    /still registered/,
  ],
  ["keeps a reference", "keeps no reference of a frame", /references/],
  ["takes EBUSY for final", "waits for a page of a source without holding the mmap lock", /EBUSY/],
  [
    "tries for ever",
    "gives up with EBUSY while a write view is open, and goes on after it",
    /takes longer/,
  ],
  [
    "stores by any entry",
    "stores where it may, and breaks copy-on-write as the CPU does",
    /of a fork/,
  ],
  ["no orphaned", "gives back what a device has whose thread dies", /still mirrors/],
  ["does not clear", "has an empty page as zeros", /of an empty page/],
  ["moves nothing back", "brings a page of its own back at a touch of the CPU", /./],
  [
    "leaves its table after a migration",
    "brings a page of its own back at a touch of the CPU",
    /of its own the device reads/,
  ],
  ["leaves its memory", "leaves nothing when it is closed", /leaves something/],
];

describe("a small driver that is broken", () => {
  after(() => breakDriver("nothing"));
  const cases = conformanceCases(driverUnderTest, { patienceMs: 3000 });
  for (const [how, name, message] of TWINS) {
    test(how, async () => {
      const found = cases.find((one) => one.name === name);
      assert.ok(found !== undefined, `there is no case "${name}"`);
      breakDriver(how);
      try {
        await assert.rejects(found.run(), { message });
      } finally {
        breakDriver("nothing");
      }
    });
  }

  test("without the recheck it uses a page that is gone, in some order of the steps", () => {
    const [first] = conformanceScenarios(driverUnderTest);
    assert.ok(first !== undefined);
    breakDriver("no recheck");
    const { findings } = explore(first.scenario, first.options);
    breakDriver("nothing");
    assert.match(findings[0]?.message ?? "", /page data, which discard freed/);
  });
});

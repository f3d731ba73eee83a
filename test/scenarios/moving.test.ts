/**
 * @module The exhibits of memory that moves (command/scenarios/moving/): each old way is found, by
 * kind and sites, and is as short as it was; each shipped one is explored as far as its scenario
 * says.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { movingExhibits } from "../../command/scenarios/moving/exhibits.ts";
import { type Smallest, checkAfter, checkBefore } from "./exhibit-checks.ts";

const smallest: Readonly<Record<string, Smallest>> = {
  "moving/late-flush/before": {
    kind: "assertion",
    sites: [],
    message: /^madvise has returned, and the page that was given up reads 7$/,
    preemptions: 2,
    steps: 66,
  },
  "moving/no-reference/before": {
    kind: "use-after-free",
    sites: ["end free deviceMemory", "touch read device memory"],
    message: /^touch uses device memory, which end freed$/,
    preemptions: 1,
    steps: 72,
  },
  "moving/counted-references/before": {
    kind: "assertion",
    sites: [],
    message: /^Two threads have touched the page, and it is on the device still$/,
    preemptions: 2,
    steps: 22,
  },
  "moving/pinned-fork/before": {
    kind: "assertion",
    sites: [],
    message: /^What the device stored is lost$/,
    preemptions: 1,
    steps: 118,
  },
  "moving/none-for-a-moment/before": {
    kind: "assertion",
    sites: [],
    message: /^madvise has returned, and the page holds what it held$/,
    preemptions: 1,
    steps: 37,
  },
  "moving/waits-unreferenced/before": {
    kind: "use-after-free",
    sites: ["other free frame", "one update frame lock"],
    message: /^one uses frame lock, which other freed$/,
    preemptions: 1,
    steps: 75,
  },
};

for (const { id, title, before, after } of movingExhibits) {
  test(`${id}: ${title}`, () => {
    assert.ok(before.length > 0 && after.length > 0);
    for (const scenario of before) checkBefore(scenario, smallest[scenario.name]);
    for (const scenario of after) checkAfter(scenario, 1);
  });
}

/**
 * @module The short form of `npm run kills`: one victim for each load. Nobody hangs, nothing is
 * wrong, and who only reads and writes what is there stops nobody.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { findChromium } from "../browser/find-chromium.ts";
import { carryOut, ordersOf, renderSummary, summarise } from "./campaign.ts";
import type { Kill, KillOrder, Outcome } from "./kill.ts";
import { type StartLane, startChromiumLane, startProcessLane } from "./lanes.ts";
import { LOADS, isLoadName } from "./loads.ts";

const seed = Number(process.env["HMM_TEST_SEED"] ?? Math.floor(Math.random() * 10 ** 9));

async function killsOf(
  orders: readonly KillOrder[],
  silenceMs?: number,
  startLane: StartLane = startProcessLane,
): Promise<Kill[]> {
  const kills: Kill[] = [];
  const silence = silenceMs === undefined ? {} : { silenceMs };
  await carryOut(orders, { startLane, ...silence, onKill: (kill) => kills.push(kill) });
  return kills;
}

test(`a thread of each load is terminated, seed ${seed}`, async () => {
  const loads = Object.keys(LOADS).filter(isLoadName);
  const kills = await killsOf(ordersOf(seed, loads, 1));
  assert.equal(kills.length, loads.length);
  for (const { load, outcome, detail } of kills) {
    const text = `${load}: ${outcome} ${detail ?? ""}`;
    assert.ok(outcome !== "hung" && outcome !== "wrong", text);
    if (load === "stores" || load === "computing") assert.equal(outcome, "well", text);
  }
});

const { path: chromiumPath, missing } = findChromium();

test(`the same in Chromium, three loads, seed ${seed}`, { skip: missing ?? false }, async () => {
  const start: StartLane = (silenceMs) => startChromiumLane(chromiumPath ?? "", silenceMs);
  const kills = await killsOf(ordersOf(seed, ["stores", "device", "fork"], 1), undefined, start);
  assert.equal(kills.length, 3);
  for (const { load, outcome, detail } of kills) {
    const text = `${load}: ${outcome} ${detail ?? ""}`;
    assert.ok(outcome !== "hung" && outcome !== "wrong", text);
    if (load === "stores") assert.equal(outcome, "well", text);
  }
});

test("a lane that does not answer is a hang, and one that ends is wrong", async () => {
  const order: KillOrder = { load: "stores", index: 0, delayMs: 0 };
  assert.deepEqual(
    (await killsOf([order, order], 1)).map(({ outcome }) => outcome),
    ["hung", "hung"],
  );
  // A load that nobody knows: the victim throws.
  const [odd] = await killsOf([{ ...order, load: "nothing" as KillOrder["load"] }]);
  assert.equal(odd?.outcome, "wrong");
});

test("the same seed gives the same moments, and a part of a campaign is a sample", () => {
  const some = ordersOf(5, ["map", "fork"], 3);
  assert.deepEqual(some, ordersOf(5, ["map", "fork"], 4).slice(0, 6));
  assert.notDeepEqual(some, ordersOf(6, ["map", "fork"], 3));
  for (const { delayMs } of some) assert.ok(delayMs >= 0 && delayMs < 20);
});

test("the table counts what became of the machines", () => {
  const made = (outcome: Outcome, more: Partial<Kill> = {}): Kill => ({
    load: "map",
    index: 0,
    delayMs: 1,
    outcome,
    noticedMs: 7,
    frames: 0,
    objects: {},
    ...more,
  });
  const kills = [
    made("well", { noticedMs: 30 }),
    made("stopped", { detail: "mmapLock" }),
    made("leaked", { frames: 2, objects: { mm: 1 } }),
    made("hung", { load: "fork" }),
  ];
  const [map, fork, all] = summarise(kills);
  assert.deepEqual(map?.details, { mmapLock: 1, frames: 1, mm: 1 });
  assert.equal(fork?.hung, 1);
  assert.deepEqual(
    [all?.kills, all?.hung, all?.wrong, all?.stopped, all?.leaked, all?.frames, all?.spaces],
    [4, 1, 0, 1, 1, 2, 1],
  );
  assert.match(renderSummary(summarise(kills)), /^load +kills.*\nmap +3 +0 +0 +1 +1 +2 +1 +30 ms/m);
});

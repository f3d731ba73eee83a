/**
 * @module What is asked of an exhibit: that the broken scenarios are found, by kind and sites, and
 * are as short as they were when they were last looked at; and that the sound ones are explored
 * without a finding.
 */

import assert from "node:assert/strict";
import { explore } from "../../src/checker/explore.ts";
import type { Exploration } from "../../src/checker/explore.ts";
import { minimise, replay } from "../../src/checker/replay/minimise.ts";
import type { AnyScenario } from "../../src/checker/scenario.ts";

/** What the smallest sighting of each is. */
export interface Smallest {
  readonly kind: string;
  /** `task operation label`. */
  readonly sites: readonly string[];
  readonly message: RegExp;
  readonly preemptions: number;
  readonly steps: number;
  /** What else is found on the way, or beside it. */
  readonly also?: readonly string[];
}

function look(scenario: AnyScenario): Exploration {
  return explore(scenario, scenario.exploration);
}

/** The broken one: finds `golden`, and nothing else but what that names. */
export function checkBefore(scenario: AnyScenario, golden: Smallest | undefined): void {
  assert.ok(golden, "there is no golden finding for it");
  const { findings, complete } = look(scenario);
  assert.ok(complete);
  const kinds = new Set(findings.map(({ kind }) => kind));
  assert.deepEqual(kinds, new Set([golden.kind, ...(golden.also ?? [])]));
  const found = findings.find(({ kind }) => kind === scenario.expects) ?? assert.fail("not found");
  const small = minimise(scenario, found, scenario.exploration);
  assert.match(small.message, golden.message);
  assert.deepEqual(
    { kind: small.kind, preemptions: small.preemptions, steps: small.steps },
    { kind: golden.kind, preemptions: golden.preemptions, steps: golden.steps },
  );
  const sites = small.sites.map(({ task, operation, label }) => `${task} ${operation} ${label}`);
  assert.deepEqual(sites, golden.sites);
  const again = replay(scenario, small.token, scenario.exploration);
  assert.ok(again.some(({ kind, message }) => kind === small.kind && message === small.message));
}

/** The shipped code: nothing is found, to the end or up to `preemptions`; a sample is no proof. */
export function checkAfter(scenario: AnyScenario, preemptions: number): void {
  const { findings, complete, blocked, bound, engine, classes } = look(scenario);
  assert.deepEqual(findings, []);
  assert.ok(classes > 1);
  if (engine === "random") return;
  assert.ok(complete);
  if (engine === "optimal") assert.deepEqual({ blocked, bound }, { blocked: 0, bound: Infinity });
  else assert.ok(bound >= preemptions);
}

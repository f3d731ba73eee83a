/**
 * @module The table of step kinds: no row contradicts itself. What the rows say of single
 * operations is held by the tests of the primitives and of the checker, which run by it.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { STEP_KINDS } from "../../src/sync/tasks/step-kinds.ts";
import type { StepKind } from "../../src/sync/tasks/step-kinds.ts";

const STEP_WORDS: ReadonlySet<string> = new Set(["kind", "label", "before", "after"]);
const WAIT_WORDS: ReadonlySet<string> = new Set(["label", "held", "readers"]);

/** What is wrong with a row. */
function contradictionsIn(row: StepKind): string[] {
  const found: string[] = [];
  const { enabled, succeeds, touch, touchFailing, touchCommuting, touchOrdering } = row;
  const unless = (isSound: boolean, message: string): void => {
    if (!isSound) found.push(message);
  };
  unless(
    succeeds !== undefined || (touchFailing === undefined && row.textFailing === undefined),
    "says what a failure is, and never fails",
  );
  unless(
    succeeds === undefined || touchFailing !== undefined,
    "asks whether it succeeds, and touches the same",
  );
  unless(enabled === undefined || succeeds === undefined, "waits until it can, and may fail");
  unless(
    row.waits === undefined || enabled !== undefined,
    "says what its wait is, and never waits",
  );
  unless(row.timeout !== true || enabled !== undefined, "may time out, and never waits");
  unless(row.blind !== true || touch !== "read", "adds without rechecking, and only looks");
  unless(
    row.blind !== true || touchCommuting === "count" || touchOrdering === "write",
    "commutes with its like, and is never strict",
  );
  unless(row.takes === undefined || row.releases === undefined, "takes a lock and gives it back");
  unless(row.data !== true || touch !== "read", "changes what conditions see, and only looks");
  const texts = [row.says, row.textFailing, row.textOfWord, row.textOfChange];
  for (const text of texts) unless(isFilled(text, STEP_WORDS), `says "${text}"`);
  unless(isFilled(row.waits, WAIT_WORDS), `waits as "${row.waits}"`);
  return found;
}

function isFilled(text: string | undefined, words: ReadonlySet<string>): boolean {
  return Array.from((text ?? "").matchAll(/\{(\w*)\}/g)).every(([, word]) => words.has(word ?? ""));
}

test("no row of the table contradicts itself", () => {
  const found = Object.entries(STEP_KINDS).flatMap(([kind, row]) =>
    contradictionsIn(row).map((what) => `${kind} ${what}`),
  );
  assert.deepEqual(found, []);
});

const never = (): boolean => false;
const broken: Readonly<Record<string, StepKind>> = {
  "a failure that cannot be": { touch: "write", touchFailing: "read" },
  "words for a failure that cannot be": { touch: "write", textFailing: "{label}: busy" },
  "a success that makes no difference": { touch: "write", succeeds: never },
  "a wait that fails": { touch: "write", enabled: never, succeeds: never, touchFailing: "read" },
  "words for a wait that cannot be": { touch: "write", waits: "waits for {label}" },
  "a timeout without a wait": { touch: "write", timeout: true },
  "a blind look": { touch: "read", blind: true, touchOrdering: "write" },
  "blind and never strict": { touch: "write", blind: true },
  "a lock that is taken and given back": { touch: "write", takes: "shared", releases: true },
  "a look that changes data": { touch: "read", data: true },
  "an unknown value": { touch: "write", says: "{label} = {value}" },
  "a value in the words of a wait": { touch: "read", enabled: never, waits: "{before}" },
};

for (const [name, row] of Object.entries(broken)) {
  test(`a row is caught: ${name}`, () => assert.equal(contradictionsIn(row).length, 1));
}

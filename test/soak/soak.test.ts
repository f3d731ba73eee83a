/** @module The short form of `npm run soak`: a round of each kind. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { type SoakRound, isLevel, isOwnerDead, soak } from "./soak.ts";

const seed = Number(process.env["HMM_TEST_SEED"] ?? 1 + Math.floor(Math.random() * 10 ** 8));

test(`a round as it is, one without memory, one with kills, seed ${seed}`, async () => {
  const rounds: SoakRound[] = [];
  await soak({ seed, rounds: 3, roundMs: 1500, onRound: (round) => rounds.push(round) });
  assert.deepEqual(
    rounds.map(({ kind }) => kind),
    ["plain", "exhaustion", "kills"],
  );
  const [plain] = rounds;
  assert.ok(plain !== undefined && plain.operations > 0 && plain.dispatches > 0);
});

for (const code of ["EOWNERDEAD", "EINVAL"]) {
  test(`${code} of another thread ${code === "EINVAL" ? "is wrong" : "says that the machine has stopped"}`, async () => {
    const { href } = new URL("../../src/index.js", import.meta.url);
    const program = `import("${href}").then(({ HmmError }) => { throw new HmmError("${code}", "wait", "") })`;
    const [error] = (await once(new Worker(program, { eval: true }), "error").catch(
      (thrown: unknown) => [thrown],
    )) as unknown[];
    assert.equal(isOwnerDead(error), code === "EOWNERDEAD", String(error));
  });
}

test("memory that grows is not level", () => {
  const sizes = (mib: readonly number[]): { rssBytes: number }[] =>
    mib.map((one) => ({ rssBytes: one * 2 ** 20 }));
  assert.ok(isLevel(sizes([200, 210, 190, 205, 200, 210])));
  assert.ok(!isLevel(sizes([200, 210, 300, 400, 500, 600])));
});

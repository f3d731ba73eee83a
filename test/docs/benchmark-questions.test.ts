/** Every figure of `npm run bench` answers one question of a user's. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { figures } from "../../bench/figures.ts";
import { renderPage } from "../../bench/page.ts";
import { questions } from "../../bench/questions.ts";

const answered: readonly string[] = questions.flatMap(({ answers }) =>
  answers.map(({ name }) => name),
);

test("every figure answers one question", () => {
  assert.deepEqual(answered.toSorted(), figures.map(({ name }) => name).toSorted());
});

test("a figure that was not measured is on the page, and says so", () => {
  const results = figures.map((figure) => ({
    figure,
    measurement: { notMeasured: "there is no compiler" },
  }));
  const page = renderPage({ machine: "a machine", results });
  for (const { name } of figures) assert.ok(page.includes(`### ${name}\n`), name);
  assert.equal(page.split("Not measured: there is no compiler").length - 1, figures.length);
  assert.match(page, /^0 of \d+ bounds are kept\.$/m);
});

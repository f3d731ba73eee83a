/** Every figure of `npm run bench` answers one question of a user's. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { figures } from "../../bench/figures.ts";
import { renderPage } from "../../bench/page.ts";
import { questions } from "../../bench/questions.ts";
import { readKept, updated } from "../../bench/results.ts";

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

test("figures that are taken again replace themselves on the page, and no others", () => {
  const kept = readKept().results;
  const figure = figures.find(({ name }) => name === "view");
  assert.ok(figure !== undefined);
  const again = { figure, measurement: { notMeasured: "taken again" } };
  const results = updated([again]);
  assert.equal(results.length, kept.length);
  for (const [i, { figure: at, measurement }] of results.entries()) {
    assert.equal(at.name, kept[i]?.figure.name);
    if (at === figure) assert.deepEqual(measurement, again.measurement);
    else assert.deepEqual(measurement, kept[i]?.measurement);
  }
});

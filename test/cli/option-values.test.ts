/** Reading option values, quantities in words, tables and the progress bar. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { UsageError } from "../../command/src/exit-status.ts";
import { quote, sizeBytes, wholeNumber } from "../../command/src/option-values.ts";
import { ProgressBar } from "../../command/src/progress-bar.ts";
import {
  formatBytes,
  formatCount,
  formatSeconds,
  formatThings,
} from "../../command/src/quantities.ts";
import { formatRows } from "../../command/src/text-table.ts";
import { capturedTerminal } from "./captured-terminal.ts";

test("sizes are read in bytes and binary units, and nothing else is", () => {
  const read = sizeBytes("--memory", 1, 2 ** 40);
  assert.equal(read("4096"), 4096);
  assert.equal(read("512KiB"), 2 ** 19);
  assert.equal(read("2mib"), 2 ** 21);
  assert.equal(read("1.5 MiB"), 1.5 * 2 ** 20);
  assert.equal(read("1GiB"), 2 ** 30);
  for (const text of [
    "",
    " ",
    "-1",
    "0",
    "2MB",
    "2 M",
    "MiB",
    "0x10",
    "1e3",
    "1.1",
    "Infinity",
    "2MiB ",
  ]) {
    assert.throws(() => read(text), UsageError, text);
  }
});

test("whole numbers are read within their bounds", () => {
  const read = wholeNumber("--points", 1, 1_000_000);
  assert.equal(read("1"), 1);
  assert.equal(read("1_000_000"), 1_000_000);
  for (const text of ["0", "1000001", "1,000", "1 ", "", "_1", "٣"])
    assert.throws(() => read(text), UsageError, text);
});

test("quoted input is short and cannot drive a terminal", () => {
  assert.equal(quote("a\nb\u001B[2J"), "'a?b?[2J'");
  assert.equal(quote("x".repeat(100)).length, 43);
});

test("quantities read like a sentence", () => {
  assert.equal(formatCount(1234567), "1,234,567");
  assert.equal(formatBytes(17), "17 bytes");
  assert.equal(formatBytes(2 ** 21), "2 MiB");
  assert.equal(formatBytes(1.25 * 2 ** 20), "1.3 MiB");
  assert.equal(formatSeconds(0.0125), "13 ms");
  assert.equal(formatSeconds(3.456), "3.46 s");
  assert.equal(formatThings(1, "city", "cities"), "1 city");
  assert.equal(formatThings(2, "page"), "2 pages");
});

test("rows line up", () => {
  const { outColors } = capturedTerminal();
  assert.equal(
    formatRows(
      [
        ["a", "one"],
        ["long", "two", "three"],
      ],
      outColors,
    ),
    "  a     one\n  long  two\n        three\n",
  );
});

test("the progress bar redraws one line at most ten times a second and takes itself away", () => {
  const terminal = capturedTerminal(true, { NO_COLOR: "1" });
  let nowMs = 0;
  const bar = new ProgressBar(terminal, () => nowMs);
  bar.update("answering", 0, 1000);
  nowMs = 50;
  bar.update("answering", 100, 1000);
  nowMs = 500;
  bar.update("answering", 500, 1000);
  const drawn = terminal.text.err.split("\r").slice(1);
  assert.equal(drawn.length, 2);
  assert.match(drawn[1]!, /answering +█{12}░{12} +50 % {2}500 {2}1,000\/s/);
  bar.clear();
  bar.clear();
  assert.equal(terminal.text.err.split("\r").length, 4);
  assert.ok(terminal.text.err.endsWith("\r\u001B[K"));
  assert.ok(!terminal.text.err.includes("\n"));
});

test("the progress bar writes nothing where there is no terminal (twin)", () => {
  const terminal = capturedTerminal(false);
  const bar = new ProgressBar(terminal);
  bar.update("answering", 1, 2);
  bar.clear();
  assert.equal(terminal.text.err, "");
});

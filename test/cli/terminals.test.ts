/** @module What the command prints on narrow and on dumb terminals, and when it prints colours. */

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";

import { runProgram } from "../../command/src/program.ts";
import { ProgressBar } from "../../command/src/progress-bar.ts";
import { makeTerminal } from "../../command/src/terminal.ts";
import { breakLines, formatRows } from "../../command/src/text-table.ts";
import { capturedTerminal } from "./captured-terminal.ts";

const ESCAPE = "\u001B";
const main = fileURLToPath(new URL("../../command/src/main.js", import.meta.url));

/** Lines as they look: without control codes. */
function linesOf(text: string): string[] {
  return stripVTControlCharacters(text).split(/[\n\r]/);
}

async function printed(columns: number | undefined, ...args: string[]): Promise<string> {
  const terminal = capturedTerminal(true, { NO_COLOR: "1" }, columns);
  await runProgram(args, terminal);
  return terminal.text.out;
}

test("the table of hmm check fits 40 columns", async () => {
  const out = await printed(40, "check", "holes/parked");
  for (const line of linesOf(out)) if (!line.includes("scenarios in")) assert.ok(line.length <= 40);
  assert.match(out, /^holes\/parked\/before\n {2}✓ lost-wakeup, \d+ class/m);
  assert.match(await printed(120, "check", "holes/parked"), /^scenario +verdict +classes/);
});

test("a terminal of no columns has not been told its width", async () => {
  for (const args of [["check", "--list"], ["run"], ["--help"]])
    assert.equal(await printed(0, ...args), await printed(undefined, ...args));
  assert.match(await printed(0, "check", "holes/parked"), /^scenario +verdict +classes/);
  assert.match(await printed(1, "check", "holes/parked"), /^h\no\nl\n/);
});

test("lists and help fit 40 columns", async () => {
  for (const args of [["run"], ["check", "--list", "holes/parked"], ["check", "--help"]]) {
    const lines = linesOf(await printed(40, ...args)).filter((line) => !line.includes("`"));
    const longest = lines.reduce((a, b) => (b.length > a.length ? b : a));
    assert.ok(longest.length <= 40, `${args.join(" ")}: ${longest}`);
  }
});

test("a text is broken between words, and a long word in itself", () => {
  assert.deepEqual(breakLines("one two three", 7), ["one two", "three"]);
  assert.deepEqual(breakLines("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
  assert.deepEqual(breakLines("", 3), [""]);
  const { outColors } = makeTerminal(
    { write: () => {} },
    { write: () => {} },
    { FORCE_COLOR: "1" },
  );
  assert.deepEqual(breakLines(outColors.red("abc"), 3).length, 1, "colours take no place");
  const { outColors: none } = capturedTerminal();
  assert.equal(formatRows([["a", "b c"]], none), "  a  b c\n");
});

test("a progress bar is no longer than the terminal is wide", () => {
  for (const columns of [8, 20, 40, 80]) {
    const terminal = capturedTerminal(true, {}, columns);
    let nowMs = 0;
    const bar = new ProgressBar(terminal, () => (nowMs += 1000));
    for (let done = 0; done <= 1_000_000; done += 250_000) bar.update("answering", done, 1_000_000);
    for (const line of linesOf(terminal.text.err)) assert.ok(line.length < columns, line);
  }
});

test("a dumb terminal gets no control codes", async () => {
  const terminal = capturedTerminal(true, { TERM: "dumb" }, 80);
  const bar = new ProgressBar(terminal);
  bar.update("answering", 1, 2);
  bar.clear();
  await runProgram(["check", "holes/parked"], terminal);
  assert.ok(!(terminal.text.out + terminal.text.err).includes(ESCAPE));
  const able = capturedTerminal(true, { TERM: "xterm" }, 80);
  await runProgram(["check", "holes/parked"], able);
  assert.ok(able.text.out.includes(ESCAPE));
});

test("FORCE_COLOR counts more than NO_COLOR, TERM and what the stream is", () => {
  const rows: readonly (readonly [env: Record<string, string>, isTTY: boolean, has: boolean])[] = [
    [{}, true, true],
    [{}, false, false],
    [{ NO_COLOR: "1" }, true, false],
    [{ NO_COLOR: "" }, true, true],
    [{ TERM: "dumb" }, true, false],
    [{ FORCE_COLOR: "1" }, false, true],
    [{ FORCE_COLOR: "true", NO_COLOR: "1" }, false, true],
    [{ FORCE_COLOR: "3", TERM: "dumb" }, false, true],
    [{ FORCE_COLOR: "0" }, true, false],
    [{ FORCE_COLOR: "false" }, true, false],
    [{ FORCE_COLOR: "" }, false, false],
  ];
  for (const [env, isTTY, has] of rows) {
    const { outColors, errColors } = capturedTerminal(isTTY, env);
    const found = [outColors.isColorSupported, errColors.isColorSupported];
    assert.deepEqual(found, [has, has], JSON.stringify(env));
  }
});

/** Tells its parent when it listens to Ctrl-C: until then that ends a process without a word. */
const TELLS = `data:text/javascript,process.on("newListener", (name) => {
  if (name === "SIGINT") setImmediate(() => process.send("listens"));
})`.replaceAll(/\s+/gu, " ");

test("Ctrl-C on a job says what was done so far", async () => {
  const args = ["--import", TELLS, main, "run", "geocode", "--points", "4000000"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe", "ipc"] });
  let err = "";
  child.stderr?.on("data", (part: Buffer) => (err += String(part)));
  child.once("message", () => child.kill("SIGINT"));
  const status = await new Promise((resolve) => child.once("close", resolve));
  assert.equal(status, 130);
  assert.match(err, /^hmm: Stopped while (?:starting|loading|building|answering|checking)/);
});

const FULL = "/dev/full";

test("output that cannot be written is told, without a stack", { skip: !existsSync(FULL) }, () => {
  const full = openSync(FULL, "w");
  const { status, stderr } = spawnSync(process.execPath, [main, "check", "--list"], {
    stdio: ["ignore", full, "pipe"],
    encoding: "utf8",
  });
  closeSync(full);
  assert.equal(status, 1);
  assert.match(stderr, /^hmm: Cannot write the output: ENOSPC.*\n$/);
});

/** @module `hmm run file`: figures, checks and twins, files larger than RAM, what it prints. */

import assert from "node:assert/strict";
import { appendFileSync, chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";

import type { MemoryKind } from "../../command/src/device-options.ts";
import { BLOCK_BYTES } from "../../command/src/file/blocks.ts";
import { columnsOf, plotLines } from "../../command/src/file/entropy-plot.ts";
import { type FileOptions, type FileResult, analyzeFile } from "../../command/src/file/file-job.ts";
import { fileReport, wholeEntropy } from "../../command/src/file/report.ts";
import { runProgram } from "../../command/src/program.ts";
import { capturedTerminal } from "./captured-terminal.ts";

const folder = mkdtempSync(join(tmpdir(), "hmm-run-file-"));
after(() => rmSync(folder, { recursive: true }));

const MIB = 2 ** 20;

/** Blocks of zeros, of two bytes by turns, of all bytes; then `tail` bytes more. */
function makeFile(name: string, times: number, tail: number): string {
  const path = join(folder, name);
  writeFileSync(path, new Uint8Array(0));
  const bytes = new Uint8Array(3 * BLOCK_BYTES);
  for (let i = 0; i < BLOCK_BYTES; i++) {
    bytes[BLOCK_BYTES + i] = i & 1;
    bytes[2 * BLOCK_BYTES + i] = i;
  }
  for (let i = 0; i < times; i++) appendFileSync(path, bytes);
  appendFileSync(path, bytes.subarray(2 * BLOCK_BYTES, 2 * BLOCK_BYTES + tail));
  return path;
}

async function analyze(
  path: string,
  lengthBytes: number,
  more: Partial<FileOptions> = {},
): Promise<FileResult> {
  return await analyzeFile({
    path,
    lengthBytes,
    memory: "remote",
    budgetBytes: 64 * 2 ** 10,
    ramBytes: MIB,
    threads: 2,
    ...more,
  });
}

for (const memory of ["remote", "private", "coherent"] as const satisfies MemoryKind[]) {
  test(`${memory}: a file four times as large as RAM, with a last block of 3 bytes`, async () => {
    const times = 22;
    const path = makeFile(`large-${memory}`, times, 3);
    const lengthBytes = times * 3 * BLOCK_BYTES + 3;
    const result = await analyze(path, lengthBytes, { memory });
    assert.equal(result.verified, true);
    assert.equal(result.verdict.checkedBytes, lengthBytes);
    const { entropies } = result;
    assert.equal(entropies.length, 3 * times + 1);
    assert.deepEqual(Array.from(entropies.subarray(0, 3)), [0, 1, 8]);
    assert.ok(Math.abs(entropies.at(-1)! - Math.log2(3)) < 1e-12);
    const { ram } = result.space;
    assert.ok(ram.totalBytes < lengthBytes / 1.9, "RAM could have held it");
    assert.equal(
      result.counts.reduce((sum, count) => sum + count, 0),
      lengthBytes,
    );
    // Two bytes of each block of all bytes are 0 and 1: 256 times each.
    assert.equal(result.counts[1], times * (BLOCK_BYTES / 2 + 256) + 1);
    const whole = wholeEntropy(result);
    assert.ok(whole > 3 && whole < 8, `${whole} bits`);
  });
}

test("what the device got wrong is found (twins): an entropy, a count, and a file that grew", async () => {
  const path = makeFile("falsified", 1, 0);
  const lengthBytes = 3 * BLOCK_BYTES;
  const entropy = await analyze(path, lengthBytes, {
    onAnalyzed: ({ entropies }) => void (entropies[1] = 1.001),
  });
  assert.deepEqual([entropy.verified, entropy.verdict.wrongBlocks], [false, 1]);
  const count = await analyze(path, lengthBytes, {
    onAnalyzed: ({ counts }) => void (counts[7] = counts[7]! - 1),
  });
  assert.deepEqual([count.verified, count.verdict.wrongCounts], [false, 1]);
  assert.match(fileReport(count, capturedTerminal()), /This must not happen/);
  const grown = await analyze(path, lengthBytes, {
    onAnalyzed: () => appendFileSync(path, new Uint8Array(5)),
  });
  assert.equal(grown.verified, false);
});

describe("hmm run file", () => {
  const run = async (...args: string[]): Promise<{ status: number; out: string; err: string }> => {
    const terminal = capturedTerminal();
    const status = await runProgram(["run", "file", ...args], terminal);
    return { status, ...terminal.text };
  };

  test("prints a table and a plot", async () => {
    const { status, out, err } = await run(makeFile("printed", 2, 0), "--threads", "1");
    assert.deepEqual([status, err], [0, ""]);
    assert.match(out, /384 KiB through a device/);
    assert.match(out, /6 of 64 KiB, from 0\.000 to 8\.000 bits a byte/);
    assert.match(out, /0x00 .* 50\.\d %|0x00 .*5\d\.\d %/);
    assert.match(out, /8 ┤ {2}█ {2}█\n/);
    assert.match(out, /A plain read of the file says the same/);
    assert.ok(!out.includes("\u001B["), "colours go to terminals only");
  });

  test("--json prints one object and nothing else", async () => {
    const path = makeFile("json", 1, 9);
    const { status, out, err } = await run(path, "--json", "--memory", "private");
    assert.deepEqual([status, err], [0, ""]);
    assert.match(out, /^\{[^\n]*\}\n$/);
    const json = JSON.parse(out) as Record<string, unknown>;
    assert.deepEqual(
      [json["verified"], json["blocks"], json["memory"], json["path"]],
      [true, 4, "private", path],
    );
    assert.equal((json["counts"] as number[]).length, 256);
    assert.equal((json["entropies"] as number[]).length, 4);
  });

  test("a terminal gets colours and a progress bar; with NO_COLOR no colours", async () => {
    const path = makeFile("terminal", 1, 0);
    const colored = capturedTerminal(true);
    await runProgram(["run", "file", path], colored);
    assert.ok(colored.text.out.includes("\u001B["));
    assert.match(colored.text.err, /analyzing/);
    const plain = capturedTerminal(true, { NO_COLOR: "1" });
    await runProgram(["run", "file", path], plain);
    assert.ok(!plain.text.out.includes("\u001B["));
  });

  test("empty and unreadable files are refused, with exit status 2", async (t) => {
    const empty = join(folder, "empty");
    writeFileSync(empty, "");
    const { status, out, err } = await run(empty);
    assert.deepEqual([status, out], [2, ""]);
    assert.match(err, /it is empty; give one with at least one byte/);
    if (process.getuid?.() === 0) return t.diagnostic("root may read every file");
    const secret = makeFile("secret", 1, 0);
    chmodSync(secret, 0);
    assert.match((await run(secret)).err, /it may not be read/);
  });
});

test("the plot has no more columns than the terminal, and means of what does not fit", () => {
  const values = Float64Array.from({ length: 100 }, (_, i) => (i < 50 ? 0 : 8));
  assert.deepEqual(columnsOf(values, 4), [0, 0, 8, 8]);
  assert.deepEqual(columnsOf(values.subarray(48, 52), 10), [0, 0, 8, 8]);
  for (const columns of [1, 3, 20, 72])
    for (const line of plotLines(values, columns)) assert.ok(line.length <= columns + 3, line);
  assert.equal(plotLines(Float64Array.of(0.01), 5)[3], "0 ┤▁");
  assert.equal(plotLines(Float64Array.of(0), 5)[3], "0 ┤");
  assert.equal(plotLines(Float64Array.of(8), 5)[0], "8 ┤█");
});

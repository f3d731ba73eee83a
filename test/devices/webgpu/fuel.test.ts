/**
 * @module What is put into the loops of a kernel does not make it one that the compiler refuses:
 * texts that it takes as they are, with barriers and subgroup operations, whose place it proves.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { makeProgram } from "../../../src/devices/webgpu/wgsl/program.ts";
import { missingGpu, plainGpu } from "./find-gpu.ts";

const POOL = { frames: 8, bufferFrames: 8 };
const TABLE = { isFlat: true, words: 2 ** 18 };

const MAIN = "@compute @workgroup_size(8) fn main(@builtin(local_invocation_index) i: u32)";
const CELLS = "var<workgroup> flag: u32; var<workgroup> cells: array<u32, 8>;";
const SUBGROUPS = "enable subgroups; diagnostic(off, subgroup_uniformity);";
/** What the library has. */
const ARGUMENTS = `
@group(0) @binding(0) var<uniform> args: array<vec4u, 16>;
fn arg_u32(i: u32) -> u32 { return args[i].x; }`;

/** A loop that invocations leave one by one, and in which they meet as far as a name says. */
const ONE_BY_ONE = "for (var k = 0u; k < i; k++) { sum += subgroupAdd(1u); }";
const TOGETHER = "for (var k = 0u; k < arg_u32(0); k++) { workgroupBarrier(); }";

/** Bodies of `main`, and what stands before it. */
const KERNELS: readonly (readonly [name: string, body: string, before?: string])[] = [
  ["a barrier", TOGETHER],
  ["one by one, then together", `var sum = 0u; ${ONE_BY_ONE} ${TOGETHER}`, SUBGROUPS],
  [
    "one by one in together",
    `var sum = 0u; for (var n = 0u; n < arg_u32(0); n++) { workgroupBarrier(); ${ONE_BY_ONE} }`,
    SUBGROUPS,
  ],
  [
    "a loop that may be left one by one",
    `var sum = 0u; @diagnostic(off, subgroup_uniformity) ${ONE_BY_ONE} ${TOGETHER}`,
    "enable subgroups;",
  ],
  [
    "a function with a name like a meeting",
    `var sum = 0u; for (var k = 0u; k < i; k++) { sum += quadratic(k); } ${TOGETHER}`,
    "fn quadratic(x: u32) -> u32 { return x * x; }",
  ],
  ["a meeting in the condition", "while (workgroupUniformLoad(&flag) < 5u) { flag = 7u; }"],
  ["in that of a for", "for (; workgroupUniformLoad(&flag) < 5u;) { flag = 7u; }"],
  [
    "in a function of the condition",
    "while (more()) { flag = 7u; }",
    "fn more() -> bool { workgroupBarrier(); return workgroupUniformLoad(&flag) < 5u; }",
  ],
  [
    "a number of rounds that a loop finds",
    `var n = 0u; while ((1u << n) < arg_u32(0)) { n++; }
    for (var k = 0u; k < n; k++) { workgroupBarrier(); }`,
  ],
  [
    "that a function finds",
    "let n = log2of(arg_u32(0)); for (var k = 0u; k < n; k++) { workgroupBarrier(); }",
    `fn log2of(n: u32) -> u32 { var k = 0u; loop { if ((1u << k) >= n) { return k; } k++; } }`,
  ],
  [
    "that a function leaves behind",
    `var n = 0u; log2of(arg_u32(0), &n);
    for (var k = 0u; k < n; k++) { workgroupBarrier(); }`,
    `fn log2of(n: u32, at: ptr<function, u32>) {
      var k = 0u; while ((1u << k) < n) { k++; }
      *at = k;
    }`,
  ],
  [
    "what an inner loop finds",
    `var n = 0u;
    loop {
      workgroupBarrier();
      for (var k = 0u; k < arg_u32(0); k++) { n += k; }
      if (n > 50u) { break; }
    }`,
  ],
  [
    "an inner loop that is left one by one",
    `for (var n = 0u; n < arg_u32(0); n++) {
      for (var k = 0u; k < i; k++) { if (cells[k] > n) { break; } cells[i]++; }
      workgroupBarrier();
    }`,
  ],
  [
    "a meeting behind a loop with a break, in a function with a value",
    "cells[i] = last(i);",
    `fn last(n: u32) -> u32 {
      var k = 0u; loop { k++; if (k > n) { break; } }
      loop { k++; continuing { break if k > n; } }
      workgroupBarrier();
      return k;
    }`,
  ],
  [
    "a meeting behind a loop that returns",
    "cells[i] = last(arg_u32(0));",
    `fn last(n: u32) -> u32 {
      var k = 0u; if (n > 3u) { loop { k++; if (k > n) { return k; } } }
      workgroupBarrier();
      return k;
    }`,
  ],
  [
    "a loop without a condition, in a function with a value",
    "cells[i] = last(i) + met(arg_u32(0));",
    `fn last(n: u32) -> u32 { for (var k = 0u;; k++) { if (k > n) { return k; } } }
    fn met(n: u32) -> u32 { for (var k = 0u;; k++) { workgroupBarrier(); if (k > n) { return k; } } }`,
  ],
  [
    "the break of a switch, or of a loop inside, leaves no loop around",
    "cells[i] = last(i) + deep(i);",
    `fn last(n: u32) -> u32 {
      var k = 0u;
      loop { k++; switch (k) { case 3u, 4u: { break; } default: { if (k > n) { return k; } } } }
    }
    fn deep(n: u32) -> u32 {
      var k = 0u;
      loop { for (var j = 0u; j < n; j++) { if (j > 3u) { break; } k++; } if (k > n) { return k; } }
    }`,
  ],
  [
    "loops in continuing blocks",
    "cells[i] = last(i) + met(arg_u32(0));",
    `fn last(n: u32) -> u32 {
      var k = 0u;
      loop { if (k > n) { break; } continuing { loop { k++; if (k % 3u == 0u) { break; } } } }
      return k;
    }
    fn met(n: u32) -> u32 {
      var k = 0u;
      loop {
        if (k > n) { break; }
        continuing { loop { workgroupBarrier(); k++; if (k % 3u == 0u) { break; } } }
      }
      return k;
    }`,
  ],
  [
    "attributes",
    `var k = 0u;
    @diagnostic(off, derivative_uniformity) loop @diagnostic(off, derivative_uniformity) {
      workgroupBarrier(); k++; if (k > arg_u32(0)) { break; }
    }`,
  ],
];

test(
  "what counts rounds keeps what the compiler knows of a kernel",
  { skip: missingGpu },
  async () => {
    const gpu = await plainGpu();
    const adapter = typeof gpu === "string" ? null : await gpu.requestAdapter();
    assert.ok(adapter !== null);
    const hasSubgroups = adapter.features.has("subgroups");
    const device = await adapter.requestDevice({
      requiredFeatures: hasSubgroups ? ["subgroups"] : [],
    });
    const errorsOf = async (code: string): Promise<string[]> => {
      device.pushErrorScope("validation");
      const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
      await device.popErrorScope();
      return messages.filter(({ type }) => type === "error").map(({ message }) => message);
    };
    for (const [name, body, before = ""] of KERNELS) {
      if (before.startsWith("enable subgroups") && !hasSubgroups) continue;
      const code = `${before} ${CELLS} ${MAIN} { ${body} }`;
      assert.deepEqual(await errorsOf(code + ARGUMENTS), [], `${name}, as it is`);
      for (const isRecording of [false, true]) {
        const text = makeProgram(code, "main").text(isRecording, TABLE, POOL);
        assert.deepEqual(await errorsOf(text), [], name);
      }
    }
    device.destroy();
  },
);

/** @module What becomes of a kernel's text, and of what the compiler says about it. No GPU. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { WgslError, errorsOf } from "../../../src/devices/webgpu/wgsl/diagnostics.ts";
import { makeProgram } from "../../../src/devices/webgpu/wgsl/program.ts";
import { poolShapesFor } from "../../../src/devices/webgpu/adapter.ts";
import { framesByBuffer } from "../../../src/devices/webgpu/wgsl/layout.ts";
import { scanWgsl, tokensOf } from "../../../src/devices/webgpu/wgsl/scan.ts";

const POOL = { frames: 8, bufferFrames: 8 };
const TABLE = { isFlat: true, words: 2 ** 18 };

const KERNEL = `// a comment with @compute fn other() {}
struct In { @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u }
const SIZE = 8;
@compute @workgroup_size(SIZE, 2)
fn main(in: In, @builtin(global_invocation_id) id: vec3u) {
  /* nested /* comments */ hide { */
  for (var i = 0u; i < arg_u32(1); i++) { store_u32(arg_ptr(0), i); }
  loop { workgroupBarrier(); break; }
}
fn find(n: u32) -> vec2<f32> { loop { if (n > 3u) { return vec2f(1); } } }
`;

test("comments are no tokens, and nest", () => {
  const texts = tokensOf("a /* b /* c */ d */ e // f\n -> g").map(({ text }) => text);
  assert.deepEqual(texts, ["a", "e", "->", "g"]);
});

test("functions, parameters, members and loops are found", () => {
  const { functions, structures, declared } = scanWgsl(KERNEL);
  assert.deepEqual(
    functions.map(({ name, loops, returns }) => [name, loops.length, returns]),
    [
      ["main", 2, ""],
      ["find", 1, "vec2<f32>"],
    ],
  );
  assert.deepEqual(
    structures.get("In")?.map(({ name, type }) => [name, type]),
    [
      ["group", "vec3u"],
      ["groups", "vec3u"],
    ],
  );
  assert.deepEqual([...declared.keys()], ["In", "SIZE", "main", "find"]);
});

test("the user's text stays line for line, without what an ordinary function may not have", () => {
  const lines = makeProgram(KERNEL, "main").text(true, TABLE, POOL).split("\n");
  const user = KERNEL.split("\n");
  assert.equal(lines[3]?.trim(), "");
  assert.equal(lines[4]?.replaceAll(/ var hmm_rounds\d = 0u;/gu, "").length, user[4]?.length);
  assert.ok(!lines[4]?.includes("@builtin"));
  for (const i of [0, 1, 2, 5]) assert.equal(lines[i], user[i], "this line is as it was");
});

test("loops get fuel; where invocations meet, each a counter of its own", () => {
  const lines = makeProgram(KERNEL, "main").text(false, TABLE, POOL).split("\n");
  const first =
    /i\+\+\) \{ hmm_rounds0\+\+; if \(hmm_rounds0 > hmm_u\.fuel\) \{ .* break; \} store_u32/u;
  assert.match(lines[6] ?? "", first);
  assert.match(
    lines[7] ?? "",
    /loop \{ hmm_rounds1\+\+; if \(hmm_rounds1 > hmm_u\.fuel\) .* work/u,
  );
  // A break would make the function one that ends without a value.
  assert.match(lines[9] ?? "", /hmm_fuel = 0u; return vec2<f32>\(\); \}/u);
  const apart = KERNEL.replace("workgroupBarrier();", "");
  const plain = makeProgram(apart, "main").text(false, TABLE, POOL).split("\n");
  assert.match(plain[6] ?? "", /i\+\+\) \{ if \(hmm_spent\(\)\) \{ break; \} store_u32/u);
  assert.match(plain[9] ?? "", /if \(hmm_spent\(\)\) \{ return vec2<f32>\(\); \}/u);
});

test("a loop of a few rounds, by its numbers alone, needs no fuel", () => {
  const fueled = (loop: string): boolean =>
    makeProgram(`@compute @workgroup_size(1) fn main() { var j = 0u; ${loop} }`, "main")
      .text(true, TABLE, POOL)
      .split("\n", 1)[0]
      ?.includes("hmm_spent") ?? false;
  for (const loop of [
    "for (var i = 0u; i < 64u; i++) { j += i; }",
    "for (var i = 0; i < 4096; i += 4) { if (i == 3) { continue; } }",
  ])
    assert.equal(fueled(loop), false, loop);
  for (const loop of [
    "for (var i = 0u; i < 64u; i++) { i = 0u; }",
    "for (var i = 0u; i < 64u; i++) { i -= 1u; }",
    "for (var i = 0u; i < 64u; i++) { i--; }",
    "for (var i = 0u; i < 64u; i++) { reset(&i); }",
    "for (var i = 0u; i < 64u; i += 0u) { j++; }",
    "for (var i = 0u; i < 64u; j++) { j++; }",
    "for (var i = 0u; i < 5000u; i++) { j++; }",
    "for (var i = 0u; i < j; i++) { j++; }",
    "while (j < 64u) { j++; }",
  ])
    assert.equal(fueled(loop), true, loop);
});

test("loops of a function in which invocations meet have counters, and short ones are free", () => {
  const text = (body: string, more: string = ""): string =>
    makeProgram(`@compute @workgroup_size(4) fn main() { var n = 1u; ${body} } ${more}`, "main")
      .text(true, TABLE, POOL)
      .split("\n", 1)[0] ?? "";
  const counters = (body: string, more?: string): number =>
    text(body, more).split("var hmm_rounds").length - 1;
  assert.equal(counters("for (var i = 0u; i < 6u; i++) { workgroupBarrier(); }"), 0);
  assert.equal(counters("while (n < 6u) { n++; }"), 0);
  assert.equal(counters("while (n < 6u) { while (n < 5u) { storageBarrier(); n++; } }"), 2);
  const inner = "for (var i = 0u; i < 4096u; i++) { for (var j = 0u; j < 2u; j++) { n += j; } ";
  assert.match(text(`${inner} workgroupBarrier(); }`), /j\+\+\) \{ hmm_rounds0\+\+;/u);
  // Of a function that is called again and again, all calls count together.
  const find =
    "fn find(a: u32) -> u32 { return deep(a); } fn deep(a: u32) -> u32 { loop { break; } }";
  assert.equal(counters("n = find(n); workgroupBarrier();", find), 1);
  assert.equal(counters("while (n < 6u) { n = find(n); workgroupBarrier(); }", find), 1);
  assert.match(
    text("while (n < find(n)) { workgroupBarrier(); }", find),
    /loop \{ if \(hmm_spent/u,
  );
});

/** How many loops of the text are counted. */
function fuelsOf(text: string): number {
  const made = makeProgram(text, "main").text(true, TABLE, POOL);
  return made.split("if (hmm_spent())").length - 1;
}

test("short loops in each other are counted if they add up to a long one", () => {
  const main = (body: string): string =>
    `@compute @workgroup_size(1) fn main() { var n = 0u; ${body} }`;
  const loop = (name: string, rounds: number, body: string): string =>
    `for (var ${name} = 0u; ${name} < ${rounds}u; ${name}++) { ${body} }`;
  const cube = (rounds: number): string =>
    loop("i", rounds, loop("j", rounds, loop("k", rounds, "n++;")));
  assert.equal(fuelsOf(main(cube(16))), 0, "4096 rounds");
  assert.equal(fuelsOf(main(cube(17))), 1, "the innermost one");
  assert.equal(fuelsOf(main(cube(4096))), 2, "those that add up to more");
  assert.equal(fuelsOf(main(loop("i", 64, "n++;") + loop("j", 4096, "n++;"))), 0, "one by one");
  const inner = `fn inner() -> u32 { var n = 0u; ${loop("i", 64, "n++;")} return n; }`;
  const outer = `fn outer() -> u32 { return inner(); }`;
  const calls = `${inner} ${outer} ${main(loop("i", 4, "n += outer();"))}`;
  assert.equal(fuelsOf(calls), 1, "a short loop that calls a function with another");
});

const placesOf = (text: string): string => {
  try {
    makeProgram(text, "main");
  } catch (error) {
    assert.ok(error instanceof WgslError);
    return error.message;
  }
  return "";
};

test("a bracket that is not closed is named, not the end of the library", () => {
  const head = "@compute @workgroup_size(1)\nfn main() {\n";
  assert.equal(placesOf(`${head}  let a = (1u + 2u);`), '2:11: this "{" is not closed');
  assert.equal(placesOf(`${head}  if (true) {\n}\nfn g() {}`), '2:11: this "{" is not closed');
  assert.equal(placesOf(`${head}  // {\n  /* ( */ }`), "");
  assert.equal(placesOf(`${head}  let a = (1u; }`), "", "the compiler says it better");
});

test("an argument that no dispatch has is refused", () => {
  const text = "@compute @workgroup_size(1)\nfn main() { store_u32(arg_ptr(0), arg_u32(32u)); }";
  assert.match(placesOf(text), /^2:35: a dispatch has 32 arguments at most, .*there is no 32$/);
});

test("the real entry point has the user's size, and shifts the ids", () => {
  const text = makeProgram(KERNEL, "main").text(true, TABLE, POOL);
  assert.match(text, /@compute @workgroup_size\(SIZE, 2\)\nfn hmm_main/u);
  assert.match(text, /main\(In\(hmm_wid, hmm_u\.groups\), \(hmm_wid \* hmm_size \+ hmm_lid\)\);/u);
});

test("what is begun and not ended is named where it begins", () => {
  const main = "@compute @workgroup_size(1) fn main() {}";
  for (const [text, message] of [
    [`\n /* begun\n${main}`, '2:2: this "/*" is not closed'],
    [`${main}\n/* a /* b */`, '2:1: this "/*" is not closed'],
    [`/* a /* b */ */ ${main}`, ""],
    [`// /*\n${main}`, ""],
    [`diagnostic(off, "x\n${main}`, '1:17: " begins nothing here: WGSL has no text in quotes'],
    [`${main}\nfn g() { let a = '('; }`, "2:18: ' begins nothing here: WGSL has no text in quotes"],
    [`// it's "commented"\n${main}`, ""],
    [`import hmm_ts::load_u32\n${main}`, '1:1: this "import" has no ";"'],
    [`import hmm_ts::load_u32\nconst a = 1;\n${main}`, '1:1: this "import" has no ";"'],
    [`import hmm_ts::load_u32;\n import hmm_ts\n${main}`, '2:2: this "import" has no ";"'],
    [`import hmm_ts::{load_u32\n${main}`, '1:16: this "{" is not closed, or lacks a ","'],
    [`import hmm_ts::{load_u32 ptr_at};\n${main}`, '1:16: this "{" is not closed, or lacks a ","'],
    [`import hmm_ts::;\n${main}`, '1:1: this "import" names nothing; write hmm_ts::load_u32, say'],
    ["import", '1:1: this "import" names nothing; write hmm_ts::load_u32, say'],
    [`import hmm_ts::{load_u32, ptr_at,};\n${main}`, ""],
    // the compiler finds what lacks its `;`
    [`const a = 1\n${main}`, ""],
    [`alias A = u32\n${main}`, ""],
  ] as const)
    assert.equal(placesOf(text), message, text);
});

/** By name: bytes up to the end of the last value. */
function usedBytesOf(declarations: string): Record<string, number> {
  const text = `${declarations}\n@compute @workgroup_size(1) fn main() {}`;
  const { variables } = makeProgram(text, "main");
  return Object.fromEntries(variables.map(({ name, usedBytes }) => [name, usedBytes]));
}

test("how long a bound buffer must be is known", () => {
  const types: readonly (readonly [type: string, bytes: number])[] = [
    ["f32", 4],
    ["vec3u", 12],
    ["vec3<f16>", 6],
    ["vec4h", 8],
    ["vec2<u32>", 8],
    ["mat3x2f", 24],
    ["mat2x3<f32>", 28],
    ["atomic<u32>", 4],
    ["array<vec3f, 2>", 28],
    ["array<array<f32, 3>, 2>", 24],
    ["array<u32, N>", 32],
    ["array<u32, (M - 1) * 2u>", 480],
    ["array<Inner, M / N>", 16 * 7],
    ["array<u32>", 4],
    ["Outer", 48 + 4],
    ["Alias", 12],
    ["Placed", 64 + 4],
    ["array<u32, max(4, 2)>", 0],
    ["array<u32, Round>", 0],
    ["Unknown", 0],
  ];
  const declarations = `
const N = 8u; const M: u32 = N * N - 3; const Round = Round;
struct Inner { a: f32, b: vec2f }
struct Outer { a: vec3f, b: f32, inner: Inner, @size(16) c: u32, rest: array<u32> }
alias Alias = vec3i;
struct Placed { a: u32, @align(64) b: u32 }
${types.map(([type], i) => `@group(0) @binding(${i}) var<storage> v${i}: ${type};`).join("\n")}`;
  const expected = Object.fromEntries(types.map(([, bytes], i) => [`v${i}`, bytes]));
  assert.deepEqual(usedBytesOf(declarations), expected);
});

test("a column behind the fuel is that of the user's line", () => {
  const program = makeProgram(KERNEL, "main");
  const line = program.text(true, TABLE, POOL).split("\n")[6] ?? "";
  const compiler = { type: "error", lineNum: 7, message: "no" };
  const at = (text: string): number => line.indexOf(text) + 1;
  const columns = ["for", "store_u32"].map((text) => {
    const [error] = errorsOf(program, [{ ...compiler, linePos: at(text) }]);
    return error?.column;
  });
  const user = KERNEL.split("\n")[6] ?? "";
  assert.deepEqual(columns, [user.indexOf("for") + 1, user.indexOf("store_u32") + 1]);
});

test("names of the library, and entry points that are not there, are refused with their place", () => {
  const refusal = (code: string, entryPoint: string): unknown => {
    try {
      makeProgram(code, entryPoint);
      return undefined;
    } catch (error) {
      if (error instanceof WgslError) return error.errors[0];
      throw error;
    }
  };
  const own = "\nfn load_u32() {}\n@compute @workgroup_size(1) fn main() {}";
  assert.deepEqual(refusal(own, "main"), {
    line: 2,
    column: 4,
    message: '"load_u32" is a name of the hmm-ts library; choose another',
  });
  assert.match(JSON.stringify(refusal(KERNEL, "find")), /the text has main/u);
  assert.equal(refusal(KERNEL, "main"), undefined);
});

test("a pool has one buffer where it can, else pieces of a power of two", () => {
  const limits = {
    maxStorageBufferBindingSize: 2 ** 27,
    maxBufferSize: 2 ** 28,
    maxStorageBuffersPerShaderStage: 8,
  };
  const shapes = (mebibytes: number, bufferBytesMax: number = 2 ** 40): unknown =>
    poolShapesFor(limits, mebibytes * 256, bufferBytesMax).map((shape) => framesByBuffer(shape));
  assert.deepEqual(shapes(128), [[2 ** 15]]);
  assert.deepEqual(shapes(129), [[2 ** 15, 256]]);
  assert.deepEqual(shapes(4, 3 * 2 ** 20), [[512, 512]]);
  assert.throws(() => shapes(769), /at most 805306368 bytes in 6 buffers/u);
  assert.deepEqual(poolShapesFor({ ...limits, maxStorageBufferBindingSize: 2 ** 31 }, 1, 2 ** 40), [
    { frames: 1, bufferFrames: 1 },
  ]);
  const large = { ...limits, maxStorageBufferBindingSize: 2 ** 31, maxBufferSize: 2 ** 31 };
  assert.deepEqual(
    poolShapesFor(large, 2 ** 17, 2 ** 40).map(framesByBuffer),
    [[2 ** 17], [2 ** 16, 2 ** 16]],
    "a driver may fail at what its limits allow",
  );
});

test("calls with a number have special forms, which only what is served gets, and no column moves", () => {
  const call = "ptr_at(arg_ptr(1), arg_u32(i), 4096u)";
  const code = `@compute @workgroup_size(1) fn main() { let i = 2u; var p = ${call};
p = ptr_at(p, (1 + 4), 12u); p = ptr_at(ptr_at(p, 1, 4), 7u, i); p = arg_ptr(i); }`;
  const program = makeProgram(code, "main");
  const [first, second] = program.text(false, TABLE, POOL).split("\n");
  assert.match(first ?? "", /var p = ptr_at_12\(arg_ptr_1\(1\), arg_u32\(i\), 4096u\);/);
  assert.equal(
    second,
    "p = ptr_at(p, (1 + 4), 12u); p = ptr_at(ptr_at_2(p, 1, 4), 7u, i); p = arg_ptr(i); }",
  );
  const message = "no matching call to 'ptr_at_2(u32)'";
  const linePos = (second?.indexOf("i); p") ?? 0) + 1;
  assert.deepEqual(errorsOf(program, [{ type: "error", message, lineNum: 2, linePos }]), [
    {
      line: 2,
      column: (code.split("\n")[1]?.indexOf("i); p") ?? 0) + 1,
      message: "no matching call to 'ptr_at(u32)'",
    },
  ]);
  assert.throws(
    () => makeProgram("fn ptr_at_2() {} @compute @workgroup_size(1) fn main() {}", "main"),
    WgslError,
  );
});

test("a load of an element reckons in words where the table is low, and nowhere else", () => {
  const code = `@compute @workgroup_size(1) fn main() { var x = load_u32(ptr_at(arg_ptr(1), x, 4u));
x = load_u32(ptr_add(ptr_at(arg_ptr(1), x, 4u), 8u)) + load_i32(ptr_at(arg_ptr(1), 3u, 8u));
store_f32(ptr_at(arg_ptr(0), x, 4u), load_f32(ptr_at(arg_ptr(0), x + load_u32(p), 4,))); }`;
  const program = makeProgram(code, "main");
  const [first, second, third] = program.text(false, TABLE, POOL).split("\n");
  assert.match(first ?? "", /load_u32_item\(ptr_at_item\(arg_ptr_1\(1\), x, 4u\)\);/);
  assert.match(second ?? "", /load_u32\(ptr_add\(ptr_at_2\(.* load_i32\(ptr_at_3\(/);
  assert.match(third ?? "", /store_f32\(ptr_at_2\(.* load_f32_item\(ptr_at_item\(/);
  const high = { isFlat: true, words: 2 ** 22 };
  const isInWords = (isRecording: boolean, table: typeof TABLE): boolean =>
    program.text(isRecording, table, POOL).includes("word >> 10u");
  assert.equal(isInWords(false, TABLE), true);
  assert.equal(isInWords(true, TABLE), false, "a recording pass needs the address");
  assert.equal(isInWords(false, high), false, "so does one beyond 4 GiB");
  assert.equal(isInWords(false, { isFlat: false, words: 2 ** 19 }), false);
  const message = "no matching call to 'load_u32_item(ptr_at_item)'";
  const [error] = errorsOf(program, [{ type: "error", message, lineNum: 1, linePos: 1 }]);
  assert.equal(error?.message, "no matching call to 'load_u32(ptr_at)'");
});

test("on a GPU the pool's arrays have no fixed size, nor has a table of the first 4 GiB", () => {
  const program = makeProgram("@compute @workgroup_size(1) fn main() { }", "main");
  const gpu = { ...POOL, isUnsized: true };
  const low = { isFlat: true, words: 2 ** 20 };
  const text = program.text(false, low, gpu);
  assert.match(text, /hmm_pool0: array<u32>;/);
  assert.match(text, /hmm_table: array<u32>;/);
  for (const words of [2 ** 18, 2 ** 22])
    assert.match(program.text(true, { isFlat: true, words }, gpu), /hmm_table: array<u32, \d+>;/);
  const deep = { isFlat: false, words: 2 ** 20 };
  assert.match(program.text(false, deep, gpu), /hmm_table: array<u32, \d+>;/);
  assert.match(program.text(false, low, POOL), /hmm_pool0: array<u32, 8192>;/);
});

test("imports of the library are checked and blanked, and no place moves", () => {
  const code = `import hmm_ts::load_u32;
import hmm_ts::{store_u32, // a comment
  ptr_at};
@compute @workgroup_size(1) fn main() { store_u32(ptr_at(vec2u(), 1, 3), load_u32(vec2u())); }`;
  const lines = makeProgram(code, "main").text(false, TABLE, POOL).split("\n");
  assert.deepEqual(
    lines.slice(0, 3).map((line) => line.trim()),
    ["", "", ""],
  );
  assert.match(lines[3] ?? "", /fn main\(\) \{ store_u32/);
  assert.equal(lines[3]?.length, code.split("\n")[3]?.length);
  const wrong: readonly (readonly [string, string])[] = [
    ["import hmm_ts::load_u23;", 'hmm_ts has no "load_u23"; there is load_u32'],
    ["import hmm_ts::{load_u32 as load};", "names of hmm_ts cannot be renamed"],
    ["import random_wgsl::pcg;", "only hmm_ts can be imported; link other packages before"],
    ["import hmm_ts::hmm_load_at;", 'hmm_ts has no "hmm_load_at"'],
  ];
  for (const [line, message] of wrong)
    assert.throws(
      () => makeProgram(`\n  ${line}\n@compute @workgroup_size(1) fn main() {}`, "main"),
      (error: unknown) => {
        assert.ok(error instanceof WgslError);
        const [first] = error.errors;
        assert.ok(first?.message.startsWith(message), first?.message);
        assert.equal(first?.line, 2);
        return true;
      },
    );
});

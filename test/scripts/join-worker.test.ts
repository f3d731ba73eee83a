/**
 * scripts/join-worker.mjs: a joined file does what its modules do, what cannot be joined is
 * refused, and an error in the joined file of a device is told by the place in its source.
 */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { SourceMap, type SourceMapPayload } from "node:module";
import { describe, test } from "node:test";

interface Joined {
  readonly paths: readonly string[];
  blocks(): readonly { readonly path: string; readonly text: string }[];
}

const root = new URL("../../../", import.meta.url);
const { JoinedModules, JOINED } = (await import(new URL("scripts/join-worker.mjs", root).href)) as {
  readonly JoinedModules: new (entry: string, read: (path: string) => string) => Joined;
  readonly JOINED: string;
};

function joined(modules: Readonly<Record<string, string>>): Joined {
  return new JoinedModules("a/entry.js", (path) => {
    const text = modules[path];
    assert.ok(text !== undefined, `${path} was read, which is not there`);
    return text;
  });
}

/** What the entry leaves in `globalThis.joinedResult`. */
async function resultOf(modules: Readonly<Record<string, string>>): Promise<unknown> {
  const text = joined(modules)
    .blocks()
    .map((block) => block.text)
    .join("");
  await import(`data:text/javascript,${encodeURIComponent(text)}`);
  return (globalThis as { joinedResult?: unknown }).joinedResult;
}

describe("joined modules", () => {
  test("a module that only passes on is not joined, nor what nobody imports from it", async () => {
    const modules = {
      "a/entry.js": `import { renamed, two } from "./face.js";
globalThis.joinedResult = [renamed, two].join(" ");
`,
      "a/face.js": `export { one as renamed, unused } from "./inner.js";
export { two } from "./two.js";
export { never } from "./never.js";
`,
      "a/inner.js": `export { one } from "./one.js"; export { unused } from "./unused.js";`,
      "a/one.js": `export const one = "one";`,
      "a/two.js": `import { one } from "./inner.js"; export const two = one + "!";`,
    };
    assert.deepEqual(joined(modules).paths, ["a/one.js", "a/two.js", "a/entry.js"]);
    assert.equal(await resultOf(modules), "one one!");
  });

  test("names that several modules use do not meet, and each is run once, in order", async () => {
    const result = await resultOf({
      "a/entry.js": `
import { word as first } from "../b/one.js"; // not { this }
import { word, both, log } from "./two.js";
import "../b/last.js";
const own = "entry";
globalThis.joinedResult = [first, word(), both, own, log()].join(" ");
`,
      "b/one.js": `/** A comment. */
export const word = "one", unused = 0;
const own = 1;
export function lines() { return [\`//  \${own}\`, /* in a line */ "/* text */"]; }
`,
      "a/two.js": `import { word as other, lines } from "../b/one.js";
import { add, log } from "../b/log.js";
const own = 2;
export class Both { static text = other + own; }
export const both = Both.text;
export function word() { return lines().join(); }
export { log };
add("two");
`,
      "b/log.js": `const own = []; export const add = (text) => own.push(text);
const log = () => own.join("+"); export { log };`,
      "b/last.js": `import { add } from "./log.js"; add("last");`,
    });
    assert.equal(result, "one //  1,/* text */ one2 entry two+last");
  });

  test("an export that changes is seen as it is, through a module between, too", async () => {
    const modules = {
      "a/entry.js": `import { set, current } from "./state.js"; import { read } from "./reader.js";
set(5); globalThis.joinedResult = [current, read()];`,
      "a/state.js": `export let current = 1; export function set(value) { current = value; }`,
      "a/reader.js": `import { current } from "./state.js"; export const read = () => current;`,
    };
    assert.deepEqual(await resultOf(modules), [5, 5]);
    const renamed = `import { current as now } from "./state.js"; export const read = () => now;`;
    assert.throws(
      () => joined({ ...modules, "a/reader.js": renamed }).blocks(),
      /current changes; import it by its own name/,
    );
  });

  const refused: readonly (readonly [why: RegExp, modules: Readonly<Record<string, string>>])[] = [
    [/only exports that have a name/, { "a/entry.js": "export default 1;" }],
    [/only modules of this project/, { "a/entry.js": 'import { join } from "node:path";' }],
    [
      /only imports by name/,
      { "a/entry.js": 'import * as two from "./two.js";', "a/two.js": "export const x = 1;" },
    ],
    [
      /exports no gone/,
      { "a/entry.js": 'import { gone } from "./two.js";', "a/two.js": "export const x = 1;" },
    ],
    [
      /two modules export one of/,
      {
        "a/entry.js": 'import "./two.js"; import "./three.js";',
        "a/two.js": "export let x = 1;",
        "a/three.js": "export let x = 2;",
      },
    ],
    [/exports a pattern/, { "a/entry.js": "export const { x } = {};" }],
    [
      /imports itself/,
      {
        "a/entry.js": 'import { b } from "./two.js"; export const a = 1;',
        "a/two.js": 'import { a } from "./entry.js"; export const b = a; export { a };',
      },
    ],
  ];
  for (const [why, modules] of refused) {
    test(`what cannot be joined is refused: ${why.source}`, () => {
      assert.throws(() => joined(modules).blocks(), why);
    });
  }

  test("the file of a device's Worker has each line where its source map says", () => {
    const built = new URL(".build/", root);
    const text = readFileSync(new URL(JOINED, built), "utf8");
    const payload = readFileSync(new URL(`${JOINED}.map`, built), "utf8");
    const map = new SourceMap(JSON.parse(payload) as SourceMapPayload);
    const lines = text.split("\n");
    for (const name of ["class DeviceThread ", "function packFailure(", "class SoftTlb "]) {
      const line = lines.findIndex((one) => one.includes(name));
      assert.ok(line >= 0, `${name} is not in the joined file`);
      const entry = map.findEntry(line, lines[line]!.indexOf(name));
      assert.ok("originalSource" in entry, `${name} has no source`);
      const source = new URL(entry.originalSource, new URL(JOINED, built));
      assert.ok(existsSync(source), `${source.href} is not there`);
      const original = readFileSync(source, "utf8").split("\n")[entry.originalLine];
      assert.ok(original?.includes(name), `${name} is told to be at ${original}`);
    }
  });
});

/**
 * @module The stage that looks at the package as its users get it: packed, judged by publint and attw, installed in an
 * empty folder, imported, type-checked against, and its command run. knip looks for what nobody uses.
 */

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkFromCommand, checkTool } from "./check.mjs";
import { rootPath, runCommand, runTool } from "./run-command.mjs";

/** @typedef {import("./check.mjs").Check} Check */

/** @type {{ name: string, version: string, bin: Record<string, string>, exports: Record<string, unknown> }} */
const packageJson = JSON.parse(readFileSync(`${rootPath}package.json`, "utf8"));

/** What may be packed besides dist/. */
const packedProse = /^(README\.md|LICENSE|CHANGELOG\.md|package\.json|docs\/.*\.(md|svg))$/;
const packedCode =
  /^dist\/(?:(?:src|scenarios)\/.*\.(?:js|d\.ts)(?:\.map)?|stepped\/(?:src|scenarios)\/.*\.js(?:\.map)?)$/;

/** Written into the empty folder: the smallest program that would notice if the package did not work. */
const program = `
import { AddressSpace } from "hmm-ts";
const space = await AddressSpace.create({ ramBytes: 1 << 20 });
const address = await space.mmap(8192);
space.u32.store(address + 4096, 42);
const read: number = space.u32.load(address + 4096);
if (read !== 42) throw new Error("read " + read);
await space.munmap(address, 8192);
await space[Symbol.asyncDispose]();

import { Places, explore, type Mutex, type Scenario } from "hmm-ts/checker";
const scenario: Scenario<Mutex[]> = {
  name: "crossed locks",
  setup: (memory) => new Places(memory).mutexes("lock", 2),
  tasks: {
    *a([first, second]) {
      yield* first!.lock();
      yield* second!.lock();
    },
    *b([first, second]) {
      yield* second!.lock();
      yield* first!.lock();
    },
  },
};
const { findings, complete } = explore(scenario);
if (!complete || !findings.some(({ kind }) => kind === "deadlock")) throw new Error("the deadlock was not found");
console.log("program ran");
`;

/** A driver's author writes such a file, and has it checked. */
const ownScenario = `
import { Mutex } from "hmm-ts/checker";
export default {
  name: "own",
  expects: "deadlock",
  words: 64,
  setup(memory) {
    const first = memory.words.length - 64;
    const locks = [new Mutex(memory, first), new Mutex(memory, first + Mutex.WORDS)];
    for (const lock of locks) lock.init();
    return locks;
  },
  tasks: {
    *there([one, other]) { yield* one.lock(); yield* other.lock(); yield* other.unlock(); yield* one.unlock(); },
    *back([one, other]) { yield* other.lock(); yield* one.lock(); yield* one.unlock(); yield* other.unlock(); },
  },
};
`;

const consumerOptions = {
  target: "ES2023",
  lib: ["ES2023", "ES2024.SharedMemory", "ES2024.ArrayBuffer", "ESNext.Disposable"],
  module: "NodeNext",
  strict: true,
  exactOptionalPropertyTypes: true,
  types: ["node"],
  typeRoots: [`${rootPath}node_modules/@types`],
  // Off on purpose: the package's own declarations are under test.
  skipLibCheck: false,
};

/** @param {string} folder */
function npm(/** @type {readonly string[]} */ args, folder = rootPath) {
  return runCommand("npm", args, { cwd: folder, environment: { npm_config_update_notifier: "false" } });
}

/**
 * @param {readonly string[]} paths
 * @returns {Check}
 */
function checkContents(paths) {
  const name = "the tarball holds what it should, and nothing else";
  const wanted = [
    "README.md",
    "LICENSE",
    ...Object.values(packageJson.bin),
    ...entryTargets(),
    "dist/scenarios/all.js",
    "dist/stepped/scenarios/all.js",
  ];
  const missing = wanted.map((path) => path.replace(/^\.\//, "")).filter((path) => !paths.includes(path));
  const strange = paths.filter((path) => !packedProse.test(path) && !packedCode.test(path));
  if (missing.length === 0 && strange.length === 0) return { name, result: "passed" };
  const detail = `missing: ${missing.join(", ") || "nothing"}\nnot expected: ${strange.join(", ") || "nothing"}`;
  return { name, result: "failed", detail };
}

/** @returns {string[]} Every file that package.json's exports name. */
function entryTargets() {
  return [...JSON.stringify(packageJson.exports).matchAll(/"(\.\/dist\/[^"]+)"/g)].map((match) => match[1] ?? "");
}

/**
 * @param {string} folder Empty, outside of the repository.
 * @returns {Promise<Check[]>}
 */
async function checkInstalled(folder) {
  const packed = await npm(["pack", "--json", "--ignore-scripts", "--pack-destination", folder]);
  if (!packed.ok) return [checkFromCommand("npm pack", packed)];
  const [tarball] = JSON.parse(packed.stdout);
  const checks = [checkContents(tarball.files.map((/** @type {{ path: string }} */ file) => file.path))];

  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const install = await npm(["install", "--prefer-offline", "--no-save", join(folder, tarball.filename)], folder);
  checks.push(checkFromCommand("the tarball installs", install));
  if (!install.ok) return checks;

  const list = 'const names = Object.keys(await import("hmm-ts")); if (!names.includes("AddressSpace")) throw names;';
  checks.push(checkFromCommand("the entry imports", await runNode(["--input-type=module", "-e", list], folder)));
  const faces = 'const { explore } = await import("hmm-ts/checker"); if (typeof explore !== "function") throw explore;';
  checks.push(checkFromCommand("the checker imports", await runNode(["--input-type=module", "-e", faces], folder)));

  const version = await npm(["exec", "--offline", "--", "hmm", "--version"], folder);
  const isRight = version.stdout.trim() === packageJson.version;
  const hint = `${version.output}\nwanted ${packageJson.version}`;
  checks.push(checkFromCommand("hmm --version", { ...version, ok: version.ok && isRight, output: hint }));

  const check = await npm(["exec", "--offline", "--", "hmm", "check", "holes/parked"], folder);
  checks.push(checkFromCommand("hmm check explores the scenarios that ship", check));
  writeFileSync(join(folder, "own.mjs"), ownScenario);
  const own = await npm(["exec", "--offline", "--", "hmm", "check", "./own.mjs"], folder);
  checks.push(checkFromCommand("hmm check explores a scenario of the user's", own));

  writeFileSync(join(folder, "program.ts"), program);
  const config = { compilerOptions: consumerOptions, files: ["program.ts"] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
  checks.push(checkFromCommand("a program compiles against it", await runTool("tsc", ["-p", folder])));
  checks.push(checkFromCommand("the program runs", await runNode(["program.js"], folder)));
  return checks;
}

/**
 * @param {readonly string[]} args
 * @param {string} cwd
 */
function runNode(args, cwd) {
  return runCommand(process.execPath, args, { cwd, timeoutMs: 60_000 });
}

/**
 * @param {(done: number) => void} onProgress
 * @returns {Promise<Check[]>}
 */
export async function checkPackage(onProgress) {
  if (!existsSync(`${rootPath}dist/src/index.js`)) {
    return [{ name: "the package", result: "failed", detail: "dist/src/index.js is not there" }];
  }
  const checks = [
    await checkTool("publint", "publint", ["--strict"]),
    await checkTool("attw", "attw", ["--pack", ".", "--profile", "esm-only"]),
    await checkTool("knip", "knip", []),
  ];
  onProgress(checks.length);
  const folder = mkdtempSync(join(tmpdir(), "hmm-ts-package-"));
  try {
    checks.push(...(await checkInstalled(folder)));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return checks;
}

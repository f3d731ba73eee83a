/**
 * @module The stage that looks at the two packages as their users get them: packed, judged by
 * publint and attw, installed in an empty folder, imported, type-checked against, and the command
 * run. knip looks for what nobody uses.
 */

import {
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkFromCommand, checkTool } from "./check.mjs";
import { checkFromGit, checkUnderNodes } from "./installs.mjs";
import { sizesDifference } from "../one-file-sizes.mjs";
import { rootPath, runCommand, runTool } from "./run-command.mjs";

/** @typedef {import("./check.mjs").Check} Check */

/**
 * @typedef {object} Manifest
 * @property {string} version
 * @property {Record<string, string>} [bin]
 * @property {Record<string, unknown>} [exports]
 * @property {Record<string, string>} [dependencies]
 */

/** @param {string} path @returns {Manifest} */
const manifestAt = (path) => JSON.parse(readFileSync(`${rootPath}${path}`, "utf8"));

/** What may be packed. */
const packedProse =
  /^(README\.md|LICENSE|NOTICE|CHANGELOG\.md|package\.json|docs\/.*\.(md|svg)|examples\/[\w-]+\.mjs)$/;
const libraryCode =
  /^dist\/(?:src\/.*\.(?:js|d\.ts)(?:\.map)?|stepped\/src\/.*\.js(?:\.map)?|one-file\/.*\.(?:js|d\.ts))$/;
const commandCode = /^dist\/(?:src|scenarios)\/.*\.js(?:\.map)?$/;

/**
 * Written into the empty folder: the smallest program that would notice if the package did not
 * work.
 */
const program = `
import { AddressSpace } from "hmm-ts";
const space = await AddressSpace.create({ ramBytes: 1 << 20 });
const address = await space.mmap(8192);
space.u32.store(address + 4096, 42);
const read: number = space.u32.load(address + 4096);
if (read !== 42) throw new Error("read " + read);
await space.munmap(address, 8192);
await space[Symbol.asyncDispose]();

import { Places, explore, type Scenario } from "hmm-ts/checker";
import type { Mutex } from "hmm-ts/driver";
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
import { DriverThread, registerMirrorOps, type HmmMirrorOps, type Task } from "hmm-ts/driver";
const ops: HmmMirrorOps = { *invalidate() { return 0; } };
if (registerMirrorOps("a driver", ops) === 0) throw new Error("an id is not 0");
await using driven = await AddressSpace.create({ ramBytes: 1 << 20 });
using driver = DriverThread.open(driven);
const users = await driver.runOnSpace(driven, function* (mm): Task<number> {
  return mm.users.read();
});
if (users !== 1) throw new Error(users + " users");
console.log("program ran");
`;

/**
 * With the condition under which a driver is explored, all entries are of one graph of modules:
 * what one of them registers, the others have.
 */
const oneGraph = `
const { HmmError } = await import("hmm-ts");
const driver = await import("hmm-ts/driver");
const checker = await import("hmm-ts/checker");
if (driver.HmmError !== HmmError) throw new Error("two graphs");
// the checker takes the lock for one of its own
const { findings, complete } = checker.explore({
  name: "a lock",
  words: 64,
  setup(memory) {
    const lock = new driver.Mutex(memory, memory.words.length - 64);
    lock.init();
    return lock;
  },
  tasks: { *a(lock) { yield* lock.lock(); yield* lock.unlock(); } },
});
if (findings.length > 0 || !complete) throw new Error(findings[0]?.message ?? "not complete");
`;

/** A driver's author writes such a file, and has it checked. */
const ownScenario = `
import { Mutex } from "hmm-ts/driver";
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
  return runCommand("npm", args, {
    cwd: folder,
    environment: { npm_config_update_notifier: "false" },
  });
}

/** @returns {Check} */
function checkDeclarations() {
  const name = "no published declaration is @internal";
  const paths = readdirSync(`${rootPath}dist/src`, { recursive: true, encoding: "utf8" });
  const internal = paths
    .filter((path) => path.endsWith(".d.ts"))
    .filter((path) => readFileSync(`${rootPath}dist/src/${path}`, "utf8").includes("@internal"));
  if (internal.length === 0) return { name, result: "passed" };
  return { name, result: "failed", detail: internal.join("\n") };
}

/** @returns {Check} */
function checkSizes() {
  const name = "the table of sizes is right";
  const detail = sizesDifference();
  return detail === "" ? { name, result: "passed" } : { name, result: "failed", detail };
}

/** @typedef {{ filename: string, files: readonly { path: string }[] }} Tarball */

/**
 * @param {string} packed Which package.
 * @param {Tarball} tarball
 * @param {readonly string[]} wanted
 * @param {RegExp} code
 * @returns {Check}
 */
function checkContents(packed, { files }, wanted, code) {
  const name = `the tarball of ${packed} holds what it should, and nothing else`;
  const paths = files.map(({ path }) => path);
  const missing = ["README.md", "LICENSE", ...wanted].filter((path) => !paths.includes(path));
  const strange = paths.filter((path) => !packedProse.test(path) && !code.test(path));
  if (missing.length === 0 && strange.length === 0) return { name, result: "passed" };
  const detail = `missing: ${missing.join(", ") || "nothing"}\nnot expected: ${strange.join(", ") || "nothing"}`;
  return { name, result: "failed", detail };
}

/**
 * Every file that the library's exports name; those of a pattern by one of them.
 *
 * @param {Manifest} library
 */
function entryTargets(library) {
  const targets = [...JSON.stringify(library.exports).matchAll(/"\.\/(dist\/[^"]+)"/g)].map(
    (match) => match[1] ?? "",
  );
  return targets.map((target) =>
    target.replace("*", target.includes("one-file") ? "hmm-ts" : "mm/fault/fault"),
  );
}

/**
 * @param {Manifest} library
 * @param {Manifest} command
 * @returns {Check}
 */
function checkDependencies(library, command) {
  const name = "the library depends on nothing, and the command on this version of it";
  const isRight =
    library.dependencies === undefined && command.dependencies?.["hmm-ts"] === library.version;
  if (isRight && command.version === library.version) return { name, result: "passed" };
  return { name, result: "failed", detail: "mend package.json or command/package.json" };
}

/**
 * @param {string} folder
 * @param {readonly string[]} which
 */
async function pack(folder, which) {
  const packed = await npm([
    "pack",
    ...which,
    "--json",
    "--ignore-scripts",
    "--pack-destination",
    folder,
  ]);
  /** @type {Tarball | undefined} */
  const tarball = packed.ok ? JSON.parse(packed.stdout)[0] : undefined;
  return { packed, tarball };
}

/** @param {string} folder In which the packages are installed. */
async function checkImports(folder) {
  const face = (/** @type {string} */ entry, /** @type {string} */ name) =>
    `if (typeof (await import("${entry}")).${name} !== "function") throw "no ${name}";`;
  const programs = {
    "the entry imports": [face("hmm-ts", "AddressSpace")],
    "the driver's entry imports": [face("hmm-ts/driver", "DriverThread")],
    "the conformance tests import": [face("hmm-ts/driver/conformance", "conformanceCases")],
    "the driver's entry in one file imports": [face("hmm-ts/one-file/driver.js", "SoftwareDevice")],
    "the checker imports": [face("hmm-ts/checker", "explore")],
    "with a condition all entries are of one graph": [oneGraph, "--conditions=hmm-explore"],
  };
  /** @type {Check[]} */
  const checks = [];
  for (const [name, [text = "", ...options]] of Object.entries(programs)) {
    const args = [...options, "--input-type=module", "-e", text];
    checks.push(checkFromCommand(name, await runNode(args, folder)));
  }
  const example = await runNode(["node_modules/hmm-ts/examples/errors.mjs"], folder);
  checks.push(checkFromCommand("an example runs where it is installed", example));
  return checks;
}

/** Of the example of a driver: what is run, and under which condition. */
const driverPrograms = {
  "the example of a driver runs": ["run.js"],
  "the example of a driver is explored": ["card-explored.js", "--conditions=hmm-explore"],
  "the example of a driver conforms": ["conformance.js", "--conditions=hmm-explore"],
};

/**
 * The example of a driver as a package of its own: built against the installed library, packed,
 * installed beside it, run.
 *
 * @param {string} folder In which the packages are installed.
 * @param {readonly string[]} tarballs Of those: what is not named again would go.
 * @returns {Promise<Check[]>}
 */
async function checkDriver(folder, tarballs) {
  const source = join(folder, "driver");
  const ignored = /\/(?:node_modules|dist)$/;
  cpSync(`${rootPath}examples/driver`, source, {
    recursive: true,
    filter: (path) => !ignored.test(path),
  });
  const built = await runTool("tsc", ["-p", source]);
  const checks = [checkFromCommand("the example of a driver compiles", built)];
  const packed = await npm(["pack", "--json", "--pack-destination", folder], source);
  /** @type {Tarball | undefined} */
  const tarball = packed.ok ? JSON.parse(packed.stdout)[0] : undefined;
  if (tarball === undefined) return [...checks, checkFromCommand("npm pack of it", packed)];
  const paths = [...tarballs, join(folder, tarball.filename)];
  const install = await npm(["install", "--prefer-offline", "--no-save", ...paths], folder);
  checks.push(checkFromCommand("the example of a driver installs", install));
  for (const [name, [file = "", ...options]] of Object.entries(driverPrograms)) {
    const path = `node_modules/hmm-ts-example-driver/dist/${file}`;
    checks.push(checkFromCommand(name, await runNode([...options, path], folder)));
  }
  return checks;
}

/**
 * What a newcomer does: the README's files of plain JavaScript, copied into the folder, and run.
 *
 * @param {string} folder In which the packages are installed.
 */
async function checkReadme(folder) {
  const readme = readFileSync(`${rootPath}README.md`, "utf8");
  const files = [...readme.matchAll(/^```js file=(\S+)\n([\s\S]*?)^```$/gm)];
  for (const [, name = "", text = ""] of files) writeFileSync(join(folder, name), text);
  const [, main = "", text = ""] = files[0] ?? [];
  const wanted = /^console\.log\(.*\); \/\/ (.+)$/m.exec(text)?.[1] ?? "what it prints";
  const result = await runNode([main], folder);
  const isRight = result.ok && result.output.trim() === wanted;
  return checkFromCommand("the README's program runs by copy and paste", {
    ...result,
    ok: isRight,
    output: `${result.output}\nwanted ${wanted}`,
  });
}

/**
 * @param {string} folder Empty, outside of the repository.
 * @returns {Promise<Check[]>}
 */
async function checkInstalled(folder) {
  const library = manifestAt("package.json");
  const command = manifestAt("command/package.json");
  const ofLibrary = await pack(folder, []);
  const ofCommand = await pack(folder, ["--workspace", "command"]);
  if (ofLibrary.tarball === undefined) return [checkFromCommand("npm pack", ofLibrary.packed)];
  if (ofCommand.tarball === undefined)
    return [checkFromCommand("npm pack of the command", ofCommand.packed)];
  const tarballs = [ofLibrary.tarball, ofCommand.tarball];
  const commandFiles = [...Object.values(command.bin ?? {}), "dist/scenarios/all.js"];
  const checks = [
    checkDependencies(library, command),
    checkDeclarations(),
    checkSizes(),
    checkContents(
      "the library",
      ofLibrary.tarball,
      ["CHANGELOG.md", ...entryTargets(library)],
      libraryCode,
    ),
    checkContents("the command", ofCommand.tarball, commandFiles, commandCode),
  ];

  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const paths = tarballs.map(({ filename }) => join(folder, filename));
  const install = await npm(["install", "--prefer-offline", "--no-save", ...paths], folder);
  checks.push(checkFromCommand("the tarballs install", install));
  if (!install.ok) return checks;

  checks.push(...(await checkImports(folder)));

  const version = await npm(["exec", "--offline", "--", "hmm", "--version"], folder);
  const isRight = version.stdout.trim() === library.version;
  const hint = `${version.output}\nwanted ${library.version}`;
  checks.push(
    checkFromCommand("hmm --version", { ...version, ok: version.ok && isRight, output: hint }),
  );

  const check = await npm(["exec", "--offline", "--", "hmm", "check", "holes/parked"], folder);
  checks.push(checkFromCommand("hmm check explores the scenarios that ship", check));
  writeFileSync(join(folder, "own.mjs"), ownScenario);
  const own = await npm(["exec", "--offline", "--", "hmm", "check", "./own.mjs"], folder);
  checks.push(checkFromCommand("hmm check explores a scenario of the user's", own));

  checks.push(await checkReadme(folder));
  writeFileSync(join(folder, "program.ts"), program);
  const config = { compilerOptions: consumerOptions, files: ["program.ts"] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
  checks.push(
    checkFromCommand("a program compiles against it", await runTool("tsc", ["-p", folder])),
  );
  checks.push(checkFromCommand("the program runs", await runNode(["program.js"], folder)));
  checks.push(...(await checkDriver(folder, paths)));
  checks.push(...(await checkUnderNodes(paths)));
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
  onProgress(checks.length);
  checks.push(await checkFromGit());
  return checks;
}

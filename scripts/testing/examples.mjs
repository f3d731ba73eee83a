/**
 * @module The stage that keeps the documentation true: every snippet is compiled against the built
 * package, as a user's file would be, and run; every program in examples/ is run as its head says.
 */

import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { checkFromCommand } from "./check.mjs";
import { rootPath, runCommand, runTool } from "./run-command.mjs";
import { findSnippets } from "./snippets.mjs";

/** @typedef {import("./check.mjs").Check} Check */
/** @typedef {import("./snippets.mjs").Snippet & { writtenPath: string }} WrittenSnippet */

const snippetsPath = `${rootPath}.build/snippets/`;
const snippetTimeoutMs = 60_000;
const exampleTimeoutMs = 180_000;

const compilerOptions = {
  noEmitOnError: false,
  noUnusedLocals: false,
  noUnusedParameters: false,
  isolatedDeclarations: false,
  declaration: false,
  declarationMap: false,
  incremental: false,
};

/**
 * Each document gets a folder. The code stands on the same lines as in its document, so that errors
 * point there.
 * @returns {WrittenSnippet[]}
 */
function writeSnippets() {
  rmSync(snippetsPath, { recursive: true, force: true });
  mkdirSync(snippetsPath, { recursive: true });
  const config = {
    extends: "../../tsconfig.base.json",
    compilerOptions,
    include: ["**/*.ts", "../../types"],
  };
  writeFileSync(`${snippetsPath}tsconfig.json`, JSON.stringify(config));
  /** @type {Map<string, string>} Blocks of one document with one name are one file. */
  const texts = new Map();
  const snippets = findSnippets().map((snippet) => {
    const folder = snippet.path.replace(/[^\w-]+/g, "-");
    const writtenPath = `${folder}/${snippet.fileName ?? `line-${snippet.line}.ts`}`;
    const before = texts.get(writtenPath) ?? "";
    const lines = "\n".repeat(snippet.line - (before.split("\n").length - 1));
    texts.set(writtenPath, `${before}${lines}${snippet.code}\n`);
    return { ...snippet, writtenPath };
  });
  for (const [path, text] of texts) {
    mkdirSync(dirname(`${snippetsPath}${path}`), { recursive: true });
    writeFileSync(`${snippetsPath}${path}`, `${text}export {};\n`);
  }
  return snippets;
}

/**
 * @param {WrittenSnippet} snippet
 * @param {readonly string[]} errors What the compiler printed, by line.
 * @returns {Promise<Check>}
 */
async function checkSnippet({ path, line, writtenPath, runs, explores }, errors) {
  const name = `${path}:${line}`;
  const own = errors.filter((error) => error.startsWith(`${writtenPath}(`));
  if (own.length > 0) {
    const detail = own.map((error) => error.replace(/^.*?\((\d+),\d+\)/, `${path}:$1`)).join("\n");
    return { name: `${name} compiles`, result: "failed", detail };
  }
  if (!runs) return { name: `${name} compiles`, result: "passed" };
  const built = `${snippetsPath}${writtenPath.replace(/\.ts$/, ".js")}`;
  const conditions = explores ? ["--conditions=hmm-explore"] : [];
  const result = await runCommand(process.execPath, [...conditions, built], {
    timeoutMs: snippetTimeoutMs,
  });
  return checkFromCommand(`${name} compiles and runs`, result);
}

/** @returns {string[]} Programs, as opposed to the kernels that they name. */
function examplePrograms() {
  if (!existsSync(`${rootPath}examples`)) return [];
  const files = readdirSync(`${rootPath}examples`, { encoding: "utf8" });
  return files.filter((name) => name.endsWith(".mjs") && !name.endsWith("-kernel.mjs")).toSorted();
}

/**
 * @param {(done: number) => void} onProgress
 * @returns {Promise<Check[]>}
 */
export async function checkExamples(onProgress) {
  /** @type {Check[]} */
  const checks = [];
  const snippets = writeSnippets();
  if (snippets.length === 0) return [];
  const compiled = await runTool("tsc", ["-p", ".", "--pretty", "false"], { cwd: snippetsPath });
  const errors = compiled.output.split("\n");
  for (const snippet of snippets) {
    checks.push(await checkSnippet(snippet, errors));
    onProgress(checks.length);
  }
  if (!compiled.ok && checks.every((check) => check.result === "passed")) {
    checks.push(checkFromCommand("snippets compile", compiled));
  }
  for (const name of examplePrograms()) {
    const path = `${rootPath}examples/${name}`;
    const [, line = ""] = /Run with: node (.*)$/m.exec(readFileSync(path, "utf8")) ?? [];
    const args = line.split(" ");
    const result = await runCommand(process.execPath, args, { timeoutMs: exampleTimeoutMs });
    checks.push(checkFromCommand(`examples/${name} runs`, result));
    onProgress(checks.length);
  }
  return checks;
}

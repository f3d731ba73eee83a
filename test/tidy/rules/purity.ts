/**
 * @module The core knows no host. sync, memory, notifier, mm and hmm run unchanged in Node, in a
 * browser, in a Worker and under an exploring scheduler, so they import no package, name no global
 * of one host only, and print nothing.
 */

import { Visitor } from "oxc-parser";
import { importsOf } from "../imports.ts";
import { fileFromText, isSource, lineOf, parseFile, type ProjectFile } from "../project-file.ts";
import type { Finding, Rule } from "../rule.ts";

const pureLayers = /^src\/(sync|memory|mmu|notifier|mm|hmm)\//;

const hostGlobals: ReadonlySet<string> = new Set([
  ..."process Buffer require global __dirname __filename setImmediate clearImmediate".split(" "),
  ..."window self document navigator location Worker MessageChannel MessagePort BroadcastChannel".split(
    " ",
  ),
  ..."fetch crypto localStorage indexedDB requestAnimationFrame postMessage console".split(" "),
]);

/**
 * Above sync, which times its waits, even the clock and chance are kept out: a replayed schedule
 * must replay exactly.
 */
const nondeterministicGlobals: ReadonlySet<string> = new Set(["Date", "performance"]);

type Node = Readonly<{ type: string; start: number }>;

/**
 * Calls `visit` for every identifier that is read as a variable, so neither a property's name nor a
 * type's.
 */
function visitFreeNames(file: ProjectFile, visit: (name: string, offset: number) => void): void {
  const declared = new Set<string>();
  const names = new Map<Node, string>();
  const notFree = new Set<Node>();
  new Visitor({
    Identifier(node) {
      names.set(node, node.name);
    },
    MemberExpression(node) {
      if (!node.computed) notFree.add(node.property);
    },
    Property(node) {
      if (!node.computed && !node.shorthand) notFree.add(node.key);
    },
    PropertyDefinition(node) {
      notFree.add(node.key);
    },
    MethodDefinition(node) {
      notFree.add(node.key);
    },
    TSPropertySignature(node) {
      notFree.add(node.key);
    },
    TSMethodSignature(node) {
      notFree.add(node.key);
    },
    TSTypeReference(node) {
      notFree.add(node.typeName);
    },
    ImportSpecifier(node) {
      declared.add(node.local.name);
    },
    VariableDeclarator(node) {
      if (node.id.type === "Identifier") declared.add(node.id.name);
    },
    FunctionDeclaration(node) {
      for (const parameter of node.params)
        if (parameter.type === "Identifier") declared.add(parameter.name);
    },
    FunctionExpression(node) {
      for (const parameter of node.params)
        if (parameter.type === "Identifier") declared.add(parameter.name);
    },
    ArrowFunctionExpression(node) {
      for (const parameter of node.params)
        if (parameter.type === "Identifier") declared.add(parameter.name);
    },
  }).visit(parseFile(file).program);
  for (const [node, name] of names)
    if (!notFree.has(node) && !declared.has(name)) visit(name, node.start);
}

function checkFile(file: ProjectFile): Finding[] {
  const findings: Finding[] = [];
  for (const { specifier, path, line } of importsOf(file)) {
    if (path !== undefined) continue;
    findings.push({
      path: file.path,
      line,
      message: `imports ${specifier}; the core imports only the core`,
    });
  }
  const isSync = file.path.startsWith("src/sync/");
  visitFreeNames(file, (name, offset) => {
    const isHost = hostGlobals.has(name);
    if (!isHost && (isSync || !nondeterministicGlobals.has(name))) return;
    const message = isHost
      ? `names ${name}, which not every host has; hand it in from src/host`
      : `names ${name}; a run must replay exactly, so the clock stays in src/sync`;
    findings.push({ path: file.path, line: lineOf(file, offset), message });
  });
  const chance = file.text.indexOf("Math.random(");
  if (chance !== -1) {
    findings.push({
      path: file.path,
      line: lineOf(file, chance),
      message: "draws a random number; hand a seed in",
    });
  }
  return findings;
}

export const purity: Rule = {
  name: "the core names no host: no node: import, no DOM, no console",
  check: (files) =>
    files.filter((file) => isSource(file) && pureLayers.test(file.path)).flatMap(checkFile),
  broken: {
    "a node: import": [
      fileFromText("src/sync/a.ts", `import { Worker } from "node:worker_threads";`),
    ],
    "a package": [fileFromText("src/mm/a.ts", `import type { X } from "kdbush";`)],
    "the console": [fileFromText("src/hmm/a.ts", `export function f() { console.log(1); }`)],
    "a DOM global": [fileFromText("src/notifier/a.ts", `if (typeof document === "object") f();`)],
    "a Node global": [fileFromText("src/memory/a.ts", `const x = { process };`)],
    "the clock": [fileFromText("src/mm/a.ts", `const t = Date.now();`)],
    chance: [fileFromText("src/hmm/a.ts", `const t = Math.random();`)],
  },
  sound: {
    "a property of that name": [
      fileFromText("src/hmm/a.ts", `x.process.self(); const y = { window: 1 };`),
    ],
    "a parameter of that name": [
      fileFromText("src/mm/a.ts", `function f(self: number) { return self; }`),
    ],
    "a timer in sync": [fileFromText("src/sync/a.ts", `setTimeout(f, performance.now());`)],
    "the console in the command": [
      fileFromText("command/src/a.ts", `import "node:fs"; console.log(1);`),
    ],
  },
};

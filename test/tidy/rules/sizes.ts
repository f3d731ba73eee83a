/**
 * @module A file holds one idea, a function does one thing: both have a length past which that is
 * no longer so.
 */

import { Visitor } from "oxc-parser";
import { fileFromText, isScript, lineOf, parseFile, type ProjectFile } from "../project-file.ts";
import type { Finding, Rule } from "../rule.ts";

/** In lines of 100 columns. */
const fileLinesMax = 600;
const functionLinesMax = 72;

function checkFileLength(file: ProjectFile): Finding[] {
  const lines = file.text.split("\n").length - 1;
  if (lines <= fileLinesMax) return [];
  return [
    {
      path: file.path,
      line: lines,
      message: `has ${lines} lines, more than ${fileLinesMax}; split it by idea`,
    },
  ];
}

/**
 * Lines of code between two offsets: blank lines and lines of comment explain, and are not counted.
 */
function codeLines(code: string, start: number, end: number): number {
  return code
    .slice(start, end)
    .split("\n")
    .filter((line) => line.trim() !== "").length;
}

function withoutComments(file: ProjectFile): string {
  let code = file.text;
  for (const { start, end } of parseFile(file).comments) {
    code = code.slice(0, start) + code.slice(start, end).replace(/[^\n]/g, " ") + code.slice(end);
  }
  return code;
}

/** The callbacks of describe() and suite() are lists of tests, not functions that do one thing. */
const listMakers: ReadonlySet<string> = new Set(["describe", "suite"]);

function checkFunctionLengths(file: ProjectFile): Finding[] {
  const findings: Finding[] = [];
  const code = withoutComments(file);
  const lists = new Set<number>();
  const judge = (node: { readonly start: number; readonly end: number }): void => {
    const lines = codeLines(code, node.start, node.end);
    if (lines <= functionLinesMax || lists.has(node.start)) return;
    const message = `a function of ${lines} lines of code, more than ${functionLinesMax}; let it do one thing`;
    findings.push({ path: file.path, line: lineOf(file, node.start), message });
  };
  new Visitor({
    CallExpression(node) {
      if (node.callee.type !== "Identifier" || !listMakers.has(node.callee.name)) return;
      for (const argument of node.arguments) lists.add(argument.start);
    },
    FunctionDeclaration: judge,
    FunctionExpression: judge,
    ArrowFunctionExpression: judge,
  }).visit(parseFile(file).program);
  return findings;
}

const longBody = "  work();\n".repeat(functionLinesMax);

export const sizes: Rule = {
  name: `files have at most ${fileLinesMax} lines, functions ${functionLinesMax} lines of code`,
  check: (files) => {
    const scripts = files.filter(isScript);
    return [...scripts.flatMap(checkFileLength), ...scripts.flatMap(checkFunctionLengths)];
  },
  broken: {
    "a long file": [fileFromText("src/mm/a.ts", "work();\n".repeat(fileLinesMax + 1))],
    "a long function": [fileFromText("src/mm/a.ts", `function f() {\n${longBody}}\n`)],
    "a long generator method": [
      fileFromText("src/mm/a.ts", `class A {\n  *f() {\n${longBody}}\n}\n`),
    ],
    "a long arrow function": [
      fileFromText("test/a.test.ts", `test("x", async () => {\n${longBody}});\n`),
    ],
    "a long function inside describe": [
      fileFromText(
        "test/a.test.ts",
        `describe("x", () => {\n test("y", () => {\n${longBody}});\n});\n`,
      ),
    ],
  },
  sound: {
    "a long comment in a function": [
      fileFromText("src/mm/a.ts", `function f() {\n${"  // why\n\n".repeat(functionLinesMax)}}\n`),
    ],
    "a long describe": [fileFromText("test/a.test.ts", `describe("x", () => {\n${longBody}});\n`)],
  },
};

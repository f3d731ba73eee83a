/**
 * @module Lines are at most 100 columns long, comments too. Longer is only what cannot be broken: a
 * line most of which is a string, a template or a regular expression, and a row of a table.
 */

import { fileFromText, isScript, parseFile, type ProjectFile } from "../project-file.ts";
import { Visitor } from "oxc-parser";
import type { Finding, Rule } from "../rule.ts";

const COLUMNS = 100;
const tableRow = /^\s*\* \|/;

interface Span {
  readonly start: number;
  readonly end: number;
}

/** Where the file has text that no line break can be put into. */
function unbreakable(file: ProjectFile): Span[] {
  const spans: Span[] = [];
  const add = ({ start, end }: Span): void => void spans.push({ start, end });
  new Visitor({
    Literal(node) {
      if (typeof node.value === "string" || "regex" in node) add(node);
    },
    TemplateLiteral: add,
    ImportDeclaration: ({ source }) => add(source),
  }).visit(parseFile(file).program);
  return spans;
}

function checkFile(file: ProjectFile): Finding[] {
  const findings: Finding[] = [];
  let spans: Span[] | undefined;
  let offset = 0;
  for (const [index, text] of file.text.split("\n").entries()) {
    const start = offset;
    const end = start + text.length;
    offset = end + 1;
    if (text.length <= COLUMNS || tableRow.test(text)) continue;
    spans ??= unbreakable(file);
    const onLine = (span: Span): number => Math.min(span.end, end) - Math.max(span.start, start);
    if (spans.some((span) => onLine(span) > text.length / 2)) continue;
    const message = `is ${text.length} columns long; break it before ${COLUMNS}`;
    findings.push({ path: file.path, line: index + 1, message });
  }
  return findings;
}

const long = "word ".repeat(21);
const call = `f(${Array.from({ length: 30 }, () => "one").join(", ")});`;

export const columns: Rule = {
  name: "lines are at most 100 columns long",
  check: (files) => files.filter(isScript).flatMap(checkFile),
  broken: {
    "a comment": [fileFromText("src/a.ts", `// ${long}\nf();`)],
    "a line of a doc comment": [fileFromText("src/a.ts", `/**\n * ${long}\n */\nf();`)],
    code: [fileFromText("src/a.ts", call)],
    "code behind a string": [fileFromText("src/a.ts", `f("short"); ${call}`)],
  },
  sound: {
    "a string": [fileFromText("src/a.ts", `f("${long}");`)],
    "a template": [fileFromText("src/a.ts", `f(\`${long}\n${long}\`);`)],
    "a row of a table": [fileFromText("src/a.ts", `/**\n * | ${long} |\n */\nf();`)],
  },
};

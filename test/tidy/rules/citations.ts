/**
 * @module What a comment cites is there: a file, a section of docs/, a rule by its label.
 *
 * A rule is a line of a comment that begins with its label. A label belongs to the file that states
 * it, and a comment there cites it alone. Elsewhere it stands beside the file, "W3 of
 * mmu/radix-table.ts"; alone only where no two files have a rule of that label. R1 to R4 are
 * docs/ARCHITECTURE.md's.
 */

import { posix } from "node:path";
import { fileFromText, isScript, lineOf, parseFile, type ProjectFile } from "../project-file.ts";
import type { Finding, Rule } from "../rule.ts";

/** A line that states a rule. */
const statement = /^[ \t]*\*?[ \t]+([A-Z]{1,2}\d{1,2})(?:\.| {1,2})[ \t]*\S/gm;
/** `mm/pte.ts`, `docs/LIMITS.md`, `radix-table.ts`. */
const citedFile =
  /(?<![\w/.@=-])((?:\.\.?\/)?(?:[\w-]+\/)*[\w-]+(?:\.(?:test|page))?\.(?:ts|mjs|md))(?:#([\w-]+))?\b/g;
/** `W3`, and the `X5` of `X1 to X5`. */
const citedLabel = /(?<![\w$#.`"'-])([A-Z]{1,2}\d{1,2})(?![\w$`"'-])/g;
/** What follows a label that is cited with its file: more labels, then "of" and the file. */
const ofFile =
  /^(?:(?:,| and| to|;)? ?\(?[A-Z]{1,2}\d{1,2}(?: \([A-Z]\))?\)?)*,? (?:of|in|are in) ([\w./-]+\.(?:ts|md))/;
/** The file just before: `(spurious.ts, S2)`, `soft-tlb.ts (X1 to X5)`. */
const afterFile =
  /([\w./-]+\.(?:ts|md))[,:]?[ (]{1,2}(?:(?:why, and )?(?:[A-Z]{1,2}\d{1,2}(?:,| to| and) )*)$/;

/** Labels of docs/ARCHITECTURE.md, which everybody cites. */
const EVERYBODYS = /^R[1-4]$/;
/** What only looks like a label. */
const NO_LABELS = /^V8$/;

interface Comment {
  readonly text: string;
  readonly start: number;
}

interface Project {
  readonly paths: ReadonlySet<string>;
  readonly headings: ReadonlyMap<string, ReadonlySet<string>>;
  /** Labels by file, and files by label. */
  readonly labels: ReadonlyMap<string, ReadonlySet<string>>;
  readonly owners: ReadonlyMap<string, readonly string[]>;
}

function commentsOf(file: ProjectFile): Comment[] {
  return parseFile(file).comments.map(({ value, start }) => ({ text: value, start: start + 2 }));
}

function labelsOf(file: ProjectFile): Set<string> {
  const labels = new Set<string>();
  for (const { text } of commentsOf(file)) {
    for (const [, label = ""] of text.matchAll(statement)) labels.add(label);
  }
  return labels;
}

/** As GitHub makes anchors of headings. */
function anchorsOf({ text }: ProjectFile): Set<string> {
  const anchor = (title: string): string =>
    title
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, "")
      .trim()
      .replaceAll(" ", "-");
  return new Set([...text.matchAll(/^#+ (.*)$/gm)].map(([, title = ""]) => anchor(title)));
}

function projectOf(files: readonly ProjectFile[]): Project {
  const labels = new Map<string, ReadonlySet<string>>();
  const owners = new Map<string, string[]>();
  const headings = new Map<string, ReadonlySet<string>>();
  for (const file of files) {
    if (file.path.endsWith(".md")) {
      headings.set(file.path, anchorsOf(file));
      labels.set(
        file.path,
        new Set([...file.text.matchAll(/\*\*([A-Z]{1,2}\d{1,2})/g)].map(([, label = ""]) => label)),
      );
    }
    if (!isScript(file)) continue;
    const own = labelsOf(file);
    labels.set(file.path, own);
    for (const label of own) owners.set(label, [...(owners.get(label) ?? []), file.path]);
  }
  return { paths: new Set(files.map(({ path }) => path)), headings, labels, owners };
}

/**
 * The file that a comment in `from` means by `cited`: beside it, from a root, or the only one that
 * ends so.
 */
function resolve(from: string, cited: string, { paths }: Project): string | undefined {
  const roots = [posix.dirname(from), "", "src", "command", "command/src", "command/scenarios"];
  for (const root of roots) {
    const path = posix.join(root, cited);
    if (paths.has(path)) return path;
  }
  const ends = [...paths].filter((path) => path.endsWith(`/${cited}`));
  return ends.length === 1 ? ends[0] : undefined;
}

function checkFiles(file: ProjectFile, { text, start }: Comment, project: Project): Finding[] {
  const findings: Finding[] = [];
  for (const { 1: cited = "", 2: section, index } of text.matchAll(citedFile)) {
    const blame = (message: string): void =>
      void findings.push({ path: file.path, line: lineOf(file, start + index), message });
    const path = resolve(file.path, cited, project);
    if (path === undefined) blame(`cites ${cited}, which is not there`);
    else if (section !== undefined && project.headings.get(path)?.has(section) !== true)
      blame(`cites a section "${section}" of ${path}, which is not there`);
  }
  return findings;
}

function checkLabels(file: ProjectFile, { text, start }: Comment, project: Project): Finding[] {
  const findings: Finding[] = [];
  for (const { 1: label = "", index } of text.matchAll(citedLabel)) {
    if (EVERYBODYS.test(label) || NO_LABELS.test(label)) continue;
    const own = project.labels.get(file.path)?.has(label) === true;
    const after = text.slice(index + label.length).replaceAll(/\s*\n\s*\*?\s*/g, " ");
    const before = text.slice(Math.max(0, index - 60), index).replaceAll(/\s*\n\s*\*?\s*/g, " ");
    const named = ofFile.exec(after)?.[1] ?? afterFile.exec(before)?.[1];
    const blame = (message: string): void =>
      void findings.push({ path: file.path, line: lineOf(file, start + index), message });
    if (named !== undefined) {
      const path = resolve(file.path, named, project);
      if (path !== undefined && project.labels.get(path)?.has(label) !== true)
        blame(`cites ${label} of ${path}, which has no such rule`);
    } else if (!own) {
      const owners = project.owners.get(label) ?? [];
      if (owners.length === 0) blame(`cites ${label}, which no file states`);
      else if (owners.length > 1)
        blame(`cites ${label}, which ${owners.join(" and ")} state; say of which file`);
    }
  }
  return findings;
}

function check(files: readonly ProjectFile[]): Finding[] {
  const project = projectOf(files);
  return files
    .filter((file) => isScript(file) && /^(?:src|command|test|scripts|bench)\//.test(file.path))
    .flatMap((file) =>
      commentsOf(file).flatMap((comment) => [
        ...checkFiles(file, comment, project),
        ...checkLabels(file, comment, project),
      ]),
    );
}

const table = fileFromText(
  "src/mm/table.ts",
  "/**\n * @module mm/table\n *\n *   W3  A leaf is unlinked first.\n */\n",
);
const other = fileFromText(
  "src/hmm/other.ts",
  "/**\n * @module hmm/other\n *\n *   W3  Another rule.\n */\n",
);
const prose = fileFromText("docs/A.md", "# A\n\n## What is there\n");
const citing = (text: string): ProjectFile =>
  fileFromText("src/mm/fault.ts", `/** ${text} */\nf();`);

export const citations: Rule = {
  name: "what a comment cites is there: files, sections, rules",
  check,
  broken: {
    "a file that is gone": [citing("See mm/gone.ts.")],
    "a section that is gone": [prose, citing("See docs/A.md#what-was-there.")],
    "a rule that nobody states": [table, citing("By W9 it stays.")],
    "a rule of another file": [table, citing("By W9 of mm/table.ts it stays.")],
    "a label that two files have": [table, other, citing("By W3 it stays.")],
  },
  sound: {
    "a file beside it": [table, citing("See table.ts.")],
    "a section": [prose, citing("See docs/A.md#what-is-there.")],
    "a rule behind its file": [
      table,
      other,
      citing("Kept (table.ts, W3) and seen, table.ts (W3)."),
    ],
    "a rule with its file": [table, other, citing("By W3 of mm/table.ts it stays.")],
    "the only rule of that label": [table, citing("By W3 it stays.")],
    "a rule of its own": [
      fileFromText("src/a/b.ts", "/**\n * @module b\n *\n *   B1  One.\n */\n// B1\nf();"),
    ],
    "everybody's rules": [citing("By R4 it is seen.")],
  },
};

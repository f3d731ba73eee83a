/**
 * @module Finds what a script imports, with the line, and resolves relative specifiers to paths in
 * the repository.
 */

import { posix } from "node:path";
import { Visitor } from "oxc-parser";
import { lineOf, parseFile, type ProjectFile } from "./project-file.ts";

export interface Import {
  readonly specifier: string;
  /**
   * Where a relative specifier leads, as a path in the repository; undefined for a package or a
   * `node:` module.
   */
  readonly path: string | undefined;
  /** True when the whole import is of types, and so is gone when the code runs. */
  readonly isTypeOnly: boolean;
  readonly line: number;
}

/** Static imports, re-exports and dynamic imports with a literal name. */
export function importsOf(file: ProjectFile): Import[] {
  const imports: Import[] = [];
  const add = (specifier: string, isTypeOnly: boolean, offset: number): void => {
    const path = specifier.startsWith(".")
      ? posix.join(posix.dirname(file.path), specifier)
      : undefined;
    imports.push({ specifier, path, isTypeOnly, line: lineOf(file, offset) });
  };
  new Visitor({
    ImportDeclaration(node) {
      const named = node.specifiers;
      const allTypes =
        named.length > 0 && named.every((one) => "importKind" in one && one.importKind === "type");
      add(node.source.value, node.importKind === "type" || allTypes, node.start);
    },
    ExportAllDeclaration(node) {
      add(node.source.value, node.exportKind === "type", node.start);
    },
    ExportNamedDeclaration(node) {
      if (node.source === null) return;
      const allTypes =
        node.specifiers.length > 0 && node.specifiers.every((one) => one.exportKind === "type");
      add(node.source.value, node.exportKind === "type" || allTypes, node.start);
    },
    ImportExpression(node) {
      if (node.source.type === "Literal" && typeof node.source.value === "string") {
        add(node.source.value, false, node.start);
      }
    },
    TSImportType(node) {
      add(node.source.value, true, node.start);
    },
  }).visit(parseFile(file).program);
  return imports;
}

/**
 * The module that one of the derived modules (scripts/derive-steps.mjs) was made from, or the entry
 * of the modules that are joined in one (scripts/join-worker.mjs).
 */
export function fromDerived(path: string): string {
  return path.replace(/^stepped\//, "").replace(/\.joined\.js$/, ".js");
}

/**
 * Paths of Worker entries: the literals in `new URL("./x.js", import.meta.url)`, named as built.
 */
export function workerEntriesOf(
  file: ProjectFile,
): { readonly path: string; readonly line: number }[] {
  const entries: { path: string; line: number }[] = [];
  new Visitor({
    NewExpression(node) {
      const [first, second] = node.arguments;
      if (node.callee.type !== "Identifier" || node.callee.name !== "URL") return;
      if (
        first?.type !== "Literal" ||
        typeof first.value !== "string" ||
        !first.value.endsWith(".js")
      )
        return;
      if (second === undefined || file.text.slice(second.start, second.end) !== "import.meta.url")
        return;
      entries.push({
        path: fromDerived(posix.join(posix.dirname(file.path), first.value)),
        line: lineOf(file, node.start),
      });
    },
  }).visit(parseFile(file).program);
  return entries;
}

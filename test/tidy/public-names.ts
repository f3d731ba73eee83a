/**
 * @module The public face: from each entry in package.json's `exports`, every exported name,
 * followed through re-exports to the statement that declares it, and the docstring found there (or
 * at the re-export, which wins).
 */

import { posix } from "node:path";
import type { Directive, Statement } from "oxc-parser";
import { fromDerived } from "./imports.ts";
import { lineOf, parseFile, type ProjectFile } from "./project-file.ts";

export interface PublicName {
  readonly name: string;
  /** Its name there, which a re-export may have changed. */
  readonly declaredName: string;
  /** Where it is declared; for a name that could not be followed, where the trail ends. */
  readonly path: string;
  readonly line: number;
  readonly docstring: string | undefined;
  readonly isFound: boolean;
}

export type Declaration = Statement | Directive;

type Files = ReadonlyMap<string, ProjectFile>;

/** Source paths of the package's entries, such as src/index.ts. */
export function entryPaths(files: readonly ProjectFile[]): string[] {
  const packageFile = files.find((file) => file.path === "package.json");
  if (packageFile === undefined) return [];
  const targets = [...packageFile.text.matchAll(/"\.\/dist\/([^"*]+)\.js"/g)];
  return [...new Set(targets.map((match) => fromDerived(`${match[1]}.ts`)))];
}

export function publicNames(files: readonly ProjectFile[], entryPath: string): PublicName[] {
  const byPath: Files = new Map(files.map((file) => [file.path, file]));
  return namesExportedBy(byPath, entryPath, new Set());
}

/** The declarations called `name` in a file: more than one for overloads and merged interfaces. */
export function declarationsOf(file: ProjectFile, name: string): Declaration[] {
  return parseFile(file).program.body.flatMap((statement) => {
    const declaration =
      statement.type === "ExportNamedDeclaration" && statement.declaration !== null
        ? statement.declaration
        : statement;
    return declaredNames(declaration).includes(name) ? [declaration] : [];
  });
}

/** The text of the doc comment that ends right above `start`, without its stars. */
export function docstringAbove(file: ProjectFile, start: number): string | undefined {
  const comment = parseFile(file).comments.findLast((one) => one.end <= start);
  if (comment === undefined || !comment.value.startsWith("*") || /@module\b/.test(comment.value))
    return undefined;
  if (file.text.slice(comment.end, start).trim() !== "") return undefined;
  return comment.value.replace(/^\s*\*+ ?/gm, "").trim();
}

function namesExportedBy(files: Files, path: string, seen: Set<string>): PublicName[] {
  const file = files.get(path);
  if (file === undefined || seen.has(path)) return [];
  seen.add(path);
  return parseFile(file).program.body.flatMap((statement) =>
    namesOfStatement(files, file, statement, seen),
  );
}

function namesOfStatement(
  files: Files,
  file: ProjectFile,
  statement: Declaration,
  seen: Set<string>,
): PublicName[] {
  if (statement.type === "ExportAllDeclaration") {
    return namesExportedBy(
      files,
      posix.join(posix.dirname(file.path), statement.source.value),
      seen,
    );
  }
  if (statement.type !== "ExportNamedDeclaration") return [];
  if (statement.declaration !== null) {
    const docstring = docstringAbove(file, statement.start);
    const line = lineOf(file, statement.start);
    return declaredNames(statement.declaration).map((name) => ({
      name,
      declaredName: name,
      path: file.path,
      line,
      docstring,
      isFound: true,
    }));
  }
  return statement.specifiers.map((specifier) => {
    const name = "name" in specifier.exported ? specifier.exported.name : specifier.exported.value;
    const local = "name" in specifier.local ? specifier.local.name : specifier.local.value;
    const own = docstringAbove(file, specifier.start) ?? docstringAbove(file, statement.start);
    const source = statement.source?.value;
    const declared =
      source === undefined ? declaredHere(file, local) : declaredThere(files, file, source, local);
    const found = declared ?? {
      declaredName: local,
      path: file.path,
      line: lineOf(file, specifier.start),
      docstring: undefined,
    };
    return {
      name,
      declaredName: found.declaredName,
      path: found.path,
      line: found.line,
      docstring: own ?? found.docstring,
      isFound: declared !== undefined,
    };
  });
}

type Declared = Pick<PublicName, "declaredName" | "path" | "line" | "docstring">;

function declaredThere(
  files: Files,
  file: ProjectFile,
  source: string,
  name: string,
): Declared | undefined {
  if (!source.startsWith(".")) return undefined;
  const target = posix.join(posix.dirname(file.path), source);
  return namesExportedBy(files, target, new Set()).find((one) => one.name === name && one.isFound);
}

/** A name exported by `export { name }` apart from its declaration in the same file. */
function declaredHere(file: ProjectFile, name: string): Declared | undefined {
  for (const statement of parseFile(file).program.body) {
    if (!declaredNames(statement).includes(name)) continue;
    return {
      declaredName: name,
      path: file.path,
      line: lineOf(file, statement.start),
      docstring: docstringAbove(file, statement.start),
    };
  }
  return undefined;
}

function declaredNames(declaration: Declaration): string[] {
  switch (declaration.type) {
    case "VariableDeclaration":
      return declaration.declarations.flatMap(({ id }) =>
        id.type === "Identifier" ? [id.name] : [],
      );
    case "FunctionDeclaration":
    case "ClassDeclaration":
    case "TSDeclareFunction":
    case "TSInterfaceDeclaration":
    case "TSTypeAliasDeclaration":
      return declaration.id === null ? [] : [declaration.id.name];
    default:
      return [];
  }
}

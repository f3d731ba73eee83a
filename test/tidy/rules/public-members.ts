/**
 * @module Every member of a class or an interface that the package exports says what it is: the
 * API reference has a paragraph for each. A member that a class or an interface takes from another
 * one of the project (`implements`, `extends`) may leave its text there. So may a field of a struct
 * in shared memory, whose layout (memory/layout/struct.ts) has a note for each; the site takes it
 * from there (site/typedoc-layouts.mjs).
 */

import type { ClassElement, TSSignature } from "oxc-parser";
import { fileFromText, lineOf, parseFile, type ProjectFile } from "../project-file.ts";
import { posix } from "node:path";
import {
  declarationsOf,
  docstringAbove,
  entryPaths,
  publicNames,
  type Declaration,
} from "../public-names.ts";
import type { Finding, Rule } from "../rule.ts";

const textLettersMin = 10;

type Files = ReadonlyMap<string, ProjectFile>;

interface Member {
  readonly name: string;
  readonly start: number;
  readonly hasText: boolean;
}

/** What has members, and the names of what it takes further ones from. */
interface Shape {
  readonly file: ProjectFile;
  readonly members: readonly Member[];
  readonly heritage: readonly string[];
}

function isPublic(element: ClassElement | TSSignature): boolean {
  switch (element.type) {
    case "StaticBlock":
    case "TSIndexSignature":
    case "TSCallSignatureDeclaration":
    case "TSConstructSignatureDeclaration":
      return false;
    case "TSPropertySignature":
    case "TSMethodSignature":
      return true;
    default: {
      if (element.key.type === "PrivateIdentifier") return false;
      if (element.type === "MethodDefinition" && element.kind === "constructor") return false;
      return element.accessibility !== "private" && element.accessibility !== "protected";
    }
  }
}

function membersOf(file: ProjectFile, elements: readonly (ClassElement | TSSignature)[]): Member[] {
  return elements.flatMap((element) => {
    if (!isPublic(element) || !("key" in element)) return [];
    const text = docstringAbove(file, element.start) ?? "";
    return [
      {
        name: file.text.slice(element.key.start, element.key.end),
        start: element.start,
        hasText: text.replace(/[^\p{L}]/gu, "").length >= textLettersMin,
      },
    ];
  });
}

function shapeOf(file: ProjectFile, declaration: Declaration): Shape | undefined {
  const nameAt = ({ start, end }: { start: number; end: number }): string =>
    file.text.slice(start, end);
  if (declaration.type === "ClassDeclaration") {
    const parent = declaration.superClass === null ? [] : [nameAt(declaration.superClass)];
    const interfaces = (declaration.implements ?? []).map((one) => nameAt(one.expression));
    return {
      file,
      members: membersOf(file, declaration.body.body),
      heritage: [...parent, ...interfaces],
    };
  }
  if (declaration.type === "TSInterfaceDeclaration") {
    return {
      file,
      members: membersOf(file, declaration.body.body),
      heritage: declaration.extends.map((one) => nameAt(one.expression)),
    };
  }
  if (
    declaration.type === "TSTypeAliasDeclaration" &&
    declaration.typeAnnotation.type === "TSTypeLiteral"
  )
    return { file, members: membersOf(file, declaration.typeAnnotation.members), heritage: [] };
  return undefined;
}

/** The shapes called `name` in `file`, or in the file of the project that it is imported from. */
function shapesOf(files: Files, file: ProjectFile, name: string): Shape[] {
  const here = declarationsOf(file, name);
  if (here.length > 0) return here.flatMap((declaration) => shapeOf(file, declaration) ?? []);
  for (const statement of parseFile(file).program.body) {
    if (statement.type !== "ImportDeclaration") continue;
    const specifier = statement.specifiers.find((one) => one.local.name === name);
    if (specifier?.type !== "ImportSpecifier") continue;
    const target = files.get(posix.join(posix.dirname(file.path), statement.source.value));
    const { imported } = specifier;
    const importedName = "name" in imported ? imported.name : imported.value;
    return target === undefined ? [] : shapesOf(files, target, importedName);
  }
  return [];
}

/** Fields whose layout, `const A = struct<A>("a", { field: u32(guard, note) })`, has a note. */
function notedFields(file: ProjectFile, owner: string): string[] {
  const fields: string[] = [];
  for (const declaration of declarationsOf(file, owner)) {
    if (declaration.type !== "VariableDeclaration") continue;
    const call = declaration.declarations[0]?.init;
    if (call?.type !== "CallExpression" || call.callee.type !== "Identifier") continue;
    const layout = call.callee.name === "struct" ? call.arguments[1] : undefined;
    if (layout?.type !== "ObjectExpression") continue;
    for (const field of layout.properties) {
      if (field.type !== "Property" || field.value.type !== "CallExpression") continue;
      const isNoted = field.value.arguments.some(
        (one) => one.type === "Literal" && typeof one.value === "string" && one.value !== "",
      );
      if (isNoted) fields.push(file.text.slice(field.key.start, field.key.end));
    }
  }
  return fields;
}

/** The members with text of `shape` and of all that it takes members from. */
function membersWithText(files: Files, shape: Shape): Set<string> {
  const names = new Set(shape.members.filter((one) => one.hasText).map((one) => one.name));
  for (const parent of shape.heritage.flatMap((name) => shapesOf(files, shape.file, name)))
    for (const name of membersWithText(files, parent)) names.add(name);
  return names;
}

function checkShape(files: Files, owner: string, shape: Shape): Finding[] {
  const withText = membersWithText(files, shape);
  for (const field of notedFields(shape.file, owner)) withText.add(field);
  return shape.members
    .filter((member) => !withText.has(member.name))
    .map((member) => ({
      path: shape.file.path,
      line: lineOf(shape.file, member.start),
      message: `${owner}.${member.name} is public, and has no docstring`,
    }));
}

function checkAll(files: readonly ProjectFile[]): Finding[] {
  const byPath: Files = new Map(files.map((file) => [file.path, file]));
  const findings = new Map<string, Finding>();
  for (const entryPath of entryPaths(files)) {
    for (const { path, declaredName } of publicNames(files, entryPath)) {
      const file = byPath.get(path);
      if (file === undefined) continue;
      for (const shape of shapesOf(byPath, file, declaredName))
        for (const finding of checkShape(byPath, declaredName, shape))
          findings.set(`${finding.path}:${finding.line}`, finding);
    }
  }
  return [...findings.values()];
}

const packageFile: ProjectFile = fileFromText(
  "package.json",
  `{ "exports": { ".": "./dist/src/index.js" } }`,
);
const project = (text: string, further: Readonly<Record<string, string>> = {}): ProjectFile[] => [
  packageFile,
  fileFromText("src/index.ts", text),
  ...Object.entries(further).map(([path, content]) => fileFromText(path, content)),
];

export const publicMembers: Rule = {
  name: "every public member of an exported class or interface has a docstring",
  check: checkAll,
  broken: {
    "a bare method": project(`export class A { free(): void {} }`),
    "a bare property of an interface": project(`export interface A { lengthBytes: number }`),
    "a bare member of an object type": project(`export type A = { lengthBytes: number };`),
    "a docstring of one word": project(`export interface A { /** Bytes. */ lengthBytes: number }`),
    "the comment of the member above": project(
      `export interface A { /** The first address of it. */ start: number; end: number }`,
    ),
    "a bare getter with a bare setter": project(
      `export class A { get size(): number { return 1; } set size(value: number) {} }`,
    ),
    "a class behind a re-export": project(`export { A as B } from "./a.ts";`, {
      "src/a.ts": `export class A { free(): void {} }`,
    }),
    "a struct whose layout has no note": project(
      `export interface A { users: number } const A = struct<A>("a", { users: u32() });`,
    ),
    "an interface that says nothing either": project(
      `import { B } from "./b.ts"; export class A implements B { free(): void {} }`,
      { "src/b.ts": `export interface B { free(): void }` },
    ),
  },
  sound: {
    "a struct whose layout says it": project(
      `export interface A { users: number } const A = struct<A>("a", { users: u32("none", "users") });`,
    ),
    "text at each": project(
      `export class A { /** Gives all of its frames back. */ free(): void {} }`,
    ),
    "private, protected, hidden, and a constructor": project(
      `export class A { #a = 1; private b = 2; protected c(): void {} constructor() {} }`,
    ),
    "a class that is not exported": project(`class A { free(): void {} }`),
    "text at one of two overloads, and of an accessor's pair": project(
      `export class A {
        /** Gives all of its frames back. */
        free(): void;
        free(count?: number): void {}
        /** How many there are now. */
        get size(): number { return 1; }
        set size(value: number) {}
      }`,
    ),
    "text in the interface, in another file": project(
      `import type { B as C } from "./b.ts"; export class A implements C { free(): void {} }`,
      { "src/b.ts": `export interface B { /** Gives all of its frames back. */ free(): void }` },
    ),
    "text in the parent of the parent": project(
      `class B { /** Gives all of its frames back. */ free(): void {} }
       class C extends B { free(): void {} }
       export class A extends C { free(): void {} }`,
    ),
  },
};

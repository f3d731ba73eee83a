/**
 * @module devices/webgpu/wgsl/scan
 * Reads as much of WGSL as the front end needs: words and signs with their places, functions with
 * their attributes, parameters and loops, structures with their members. It is no parser of
 * expressions, and refuses nothing: what it does not understand is left to the shader compiler.
 */

/** A word, a number or a sign, and where it stands. */
export interface Token {
  readonly text: string;
  readonly at: number;
  readonly end: number;
}

/** `@name(arguments)`, with the places of its first and one past its last character. */
export interface Attribute {
  readonly name: string;
  /** The text between its parentheses, or "". */
  readonly arguments: string;
  readonly at: number;
  readonly end: number;
}

/** A parameter of a function, or a member of a structure. */
export interface Field {
  readonly name: string;
  readonly type: string;
  readonly attributes: readonly Attribute[];
}

export interface Loop {
  readonly keyword: "for" | "while" | "loop";
  /** Index of its keyword among the tokens. */
  readonly token: number;
  /** Place behind the brace that opens its body. */
  readonly bodyAt: number;
  /** Index of the first token of its body, and of the brace that closes it. */
  readonly firstToken: number;
  readonly endToken: number;
}

export interface WgslFunction {
  readonly name: string;
  readonly attributes: readonly Attribute[];
  readonly parameters: readonly Field[];
  /** Text of the type that it returns, or "". */
  readonly returns: string;
  readonly at: number;
  /** Index of the brace that opens its body, and of the one that closes it. */
  readonly firstToken: number;
  readonly endToken: number;
  readonly loops: readonly Loop[];
}

/** A variable that is declared at the top. */
export interface Variable {
  readonly name: Token;
  readonly attributes: readonly Attribute[];
  /** What stands in the brackets of `var<...>`: address space and access, or nothing. */
  readonly space: readonly string[];
  readonly type: string;
}

export interface WgslText {
  readonly text: string;
  readonly tokens: readonly Token[];
  readonly functions: readonly WgslFunction[];
  /** Members by the name of the structure. */
  readonly structures: ReadonlyMap<string, readonly Field[]>;
  readonly variables: readonly Variable[];
  /** What an alias means, by its name. */
  readonly aliases: ReadonlyMap<string, string>;
  /** Names that are declared at the top, functions and structures included. */
  readonly declared: ReadonlyMap<string, Token>;
}

const WORD = /[\p{XID_Start}_][\p{XID_Continue}]*|[0-9][0-9a-zA-Z_.]*/uy;

/** Words, numbers and signs of `text`; comments and space are left out. */
export function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  for (let at = 0; at < text.length;) {
    const next = skipBlank(text, at);
    if (next !== at) {
      at = next;
      continue;
    }
    WORD.lastIndex = at;
    const word = WORD.exec(text)?.[0] ?? (text[at] === "-" && text[at + 1] === ">" ? "->" : "");
    const end = at + Math.max(1, word.length);
    tokens.push({ text: text.slice(at, end), at, end });
    at = end;
  }
  return tokens;
}

/** Behind the space or the comment that begins at `at`; `at` if there is none. */
function skipBlank(text: string, at: number): number {
  if (text.startsWith("//", at)) {
    const end = text.slice(at).search(/[\n\v\f\r\u0085\u2028\u2029]/u);
    return end < 0 ? text.length : at + end;
  }
  if (text.startsWith("/*", at)) return Math.min(blockCommentEnd(text, at), text.length);
  return /\s/u.test(text[at] ?? "") ? at + 1 : at;
}

/** Behind it, or Infinity: it is not closed. Block comments nest. */
function blockCommentEnd(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    if (text.startsWith("/*", at)) depth++;
    else if (text.startsWith("*/", at)) depth--;
    else continue;
    at++;
    if (depth === 0) return at + 1;
  }
  return Infinity;
}

/** Place of a block comment that is not closed; undefined if there is none. */
export function unclosedComment(text: string): number | undefined {
  for (let at = 0; at < text.length;) {
    if (text.startsWith("/*", at) && blockCommentEnd(text, at) === Infinity) return at;
    at = Math.max(at + 1, skipBlank(text, at));
  }
  return undefined;
}

const CLOSING: ReadonlyMap<string, string> = new Map([
  ["(", ")"],
  ["{", "}"],
  ["[", "]"],
]);

const CLOSES: ReadonlySet<string> = new Set(CLOSING.values());

/** Index of the token that closes the one at `index`; the number of tokens if none does. */
export function closingOf(tokens: readonly Token[], index: number): number {
  const opens = tokens[index]?.text ?? "";
  const closes = CLOSING.get(opens);
  let depth = 0;
  for (let i = index; i < tokens.length; i++) {
    if (tokens[i]?.text === opens) depth++;
    else if (tokens[i]?.text === closes && --depth === 0) return i;
  }
  return tokens.length;
}

/** The first bracket that nothing closes, in a text that is right but for that. */
export function unclosedToken({ tokens }: WgslText): Token | undefined {
  const open: Token[] = [];
  for (const token of tokens) {
    if (CLOSING.has(token.text)) open.push(token);
    else if (CLOSES.has(token.text)) {
      if (CLOSING.get(open.pop()?.text ?? "") !== token.text) return undefined;
    }
  }
  return open[0];
}

export function scanWgsl(text: string): WgslText {
  const tokens = tokensOf(text);
  const functions: WgslFunction[] = [];
  const structures = new Map<string, readonly Field[]>();
  const variables: Variable[] = [];
  const aliases = new Map<string, string>();
  const declared = new Map<string, Token>();
  let attributes: Attribute[] = [];
  for (let i = 0; i < tokens.length;) {
    const token = tokens[i];
    const name = tokens[i + 1];
    if (token === undefined) break;
    if (token.text === "@") {
      const [attribute, next] = readAttribute(text, tokens, i);
      attributes.push(attribute);
      i = next;
      continue;
    }
    if (token.text === "fn" && name !== undefined) {
      const [found, next] = readFunction(text, tokens, i, attributes);
      functions.push(found);
      declared.set(found.name, name);
      i = next;
    } else if (token.text === "struct" && name !== undefined) {
      const end = closingOf(tokens, i + 2);
      structures.set(name.text, readFields(text, tokens, i + 3, end));
      declared.set(name.text, name);
      i = end + 1;
    } else {
      const declaredName = nameOfDeclaration(tokens, i);
      const end = endOfStatement(tokens, i);
      if (declaredName !== undefined) {
        declared.set(declaredName.text, declaredName);
        if (token.text === "var") variables.push(readVariable(text, tokens, i, end, attributes));
        if (token.text === "alias")
          aliases.set(declaredName.text, textBetween(text, tokens, i + 3, end - 1));
      }
      i = end;
    }
    attributes = [];
  }
  return { text, tokens, functions, structures, variables, aliases, declared };
}

/** What tokens [first, end) are in the text. */
function textBetween(text: string, tokens: readonly Token[], first: number, end: number): string {
  return first < end ? text.slice(tokens[first]?.at, tokens[end - 1]?.end) : "";
}

/** `var<space, access> name : type = value;`, as far as it has these; `end`: behind its `;`. */
function readVariable(
  text: string,
  tokens: readonly Token[],
  index: number,
  end: number,
  attributes: readonly Attribute[],
): Variable {
  const name = nameOfDeclaration(tokens, index) ?? { text: "", at: 0, end: 0 };
  const at = tokens.indexOf(name, index);
  const space = tokens.slice(index + 2, Math.max(index + 2, at - 1)).map((one) => one.text);
  const isTyped = tokens[at + 1]?.text === ":";
  let stop = at + 2;
  while (stop < end - 1 && tokens[stop]?.text !== "=") stop++;
  return {
    name,
    attributes,
    space: space.filter((one) => one !== ","),
    type: isTyped ? textBetween(text, tokens, at + 2, stop) : "",
  };
}

/** Of `var<..> name`, `const name`, `override name`, `alias name`. */
function nameOfDeclaration(tokens: readonly Token[], index: number): Token | undefined {
  const keyword = tokens[index]?.text;
  if (keyword === "const" || keyword === "override" || keyword === "alias")
    return tokens[index + 1];
  if (keyword !== "var") return undefined;
  if (tokens[index + 1]?.text !== "<") return tokens[index + 1];
  for (let i = index + 2; i < tokens.length; i++) if (tokens[i]?.text === ">") return tokens[i + 1];
  return undefined;
}

/** What a declaration at the top may begin with: the one before lacks its `;`. */
const BEGINS_ANOTHER: ReadonlySet<string> = new Set(
  "@ fn struct var const override alias const_assert".split(" "),
);

function endOfStatement(tokens: readonly Token[], index: number): number {
  for (let i = index; i < tokens.length; i++) {
    const { text } = tokens[i] ?? { text: "" };
    if (text === ";") return i + 1;
    if (i > index && BEGINS_ANOTHER.has(text)) return i;
    if (text === "(" || text === "{" || text === "[") i = closingOf(tokens, i);
  }
  return tokens.length;
}

function readAttribute(
  text: string,
  tokens: readonly Token[],
  index: number,
): [attribute: Attribute, next: number] {
  const at = tokens[index]?.at ?? 0;
  const name = tokens[index + 1];
  if (tokens[index + 2]?.text !== "(") {
    const end = name?.end ?? text.length;
    return [{ name: name?.text ?? "", arguments: "", at, end }, index + 2];
  }
  const close = closingOf(tokens, index + 2);
  const end = tokens[close]?.end ?? text.length;
  const inside = text.slice(tokens[index + 2]?.end ?? end, tokens[close]?.at ?? end).trim();
  return [{ name: name?.text ?? "", arguments: inside, at, end }, close + 1];
}

function readFunction(
  text: string,
  tokens: readonly Token[],
  index: number,
  attributes: readonly Attribute[],
): [found: WgslFunction, next: number] {
  const opens = index + 2;
  const closes = closingOf(tokens, opens);
  let body = closes + 1;
  while (body < tokens.length && tokens[body]?.text !== "{") body++;
  const end = closingOf(tokens, body);
  const found: WgslFunction = {
    name: tokens[index + 1]?.text ?? "",
    attributes,
    parameters: readFields(text, tokens, opens + 1, closes),
    returns: returnType(text, tokens, closes + 1, body),
    at: tokens[index]?.at ?? 0,
    firstToken: body,
    endToken: end,
    loops: readLoops(tokens, body + 1, end),
  };
  return [found, end + 1];
}

function returnType(text: string, tokens: readonly Token[], index: number, body: number): string {
  if (tokens[index]?.text !== "->") return "";
  let first = index + 1;
  while (tokens[first]?.text === "@") first = readAttribute(text, tokens, first)[1];
  return text.slice(tokens[first]?.at, tokens[body]?.at).trim();
}

/** Parameters or members between two tokens: `@attributes name : type`, with commas. */
function readFields(text: string, tokens: readonly Token[], first: number, end: number): Field[] {
  const fields: Field[] = [];
  for (let i = first; i < end;) {
    const attributes: Attribute[] = [];
    while (i < end && tokens[i]?.text === "@") {
      const [attribute, next] = readAttribute(text, tokens, i);
      attributes.push(attribute);
      i = next;
    }
    const name = tokens[i]?.text ?? "";
    const stop = endOfField(tokens, i, end);
    const type = text.slice(tokens[i + 2]?.at ?? 0, tokens[stop - 1]?.end ?? 0);
    if (i < end) fields.push({ name, type, attributes });
    i = stop + 1;
  }
  return fields;
}

/** Index of the comma behind a field, or `end`; commas inside of brackets do not count. */
function endOfField(tokens: readonly Token[], first: number, end: number): number {
  let depth = 0;
  for (let i = first; i < end; i++) {
    const { text } = tokens[i] ?? { text: "" };
    if (text === "<" || text === "(" || text === "[") depth++;
    else if (text === ">" || text === ")" || text === "]") depth--;
    else if (text === "," && depth === 0) return i;
  }
  return end;
}

/** Index of the brace that begins the body of a loop or a `switch`; `index`: of its keyword. */
export function bodyOf(tokens: readonly Token[], index: number, end: number): number {
  let body = index + 1;
  if (tokens[index]?.text === "for") body = closingOf(tokens, body) + 1;
  while (body < end && tokens[body]?.text !== "{") body++;
  return body;
}

function readLoops(tokens: readonly Token[], first: number, end: number): Loop[] {
  const loops: Loop[] = [];
  for (let i = first; i < end; i++) {
    const keyword = tokens[i]?.text;
    if (keyword !== "for" && keyword !== "while" && keyword !== "loop") continue;
    const body = bodyOf(tokens, i, end);
    const brace = tokens[body];
    if (brace === undefined) continue;
    const endToken = closingOf(tokens, body);
    loops.push({ keyword, token: i, bodyAt: brace.end, firstToken: body + 1, endToken });
  }
  return loops;
}

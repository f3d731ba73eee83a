/**
 * @module devices/webgpu/wgsl/imports
 * `import hmm_ts::load_u32;` and `import hmm_ts::{load_u32, store_u32};` at the top of a kernel's
 * text: the form of WESL (wesl-lang.dev, "Imports"), which editors and linkers of the field know.
 * The library is there without them. So they are checked, and blanked with spaces; no place in the
 * text moves.
 */

import { nearNames } from "../../../driver-interface.ts";
import { type ProgramError, WgslError, placeOf } from "./diagnostics.ts";
import { LIBRARY_NAMES } from "./names.ts";
import { type Token, tokensOf } from "./scan.ts";

/** The package's name as WESL spells it: `-` is no letter there. */
const PACKAGE = "hmm_ts";

const PUBLIC_NAMES: readonly string[] = [...LIBRARY_NAMES].filter(
  (name) => !name.startsWith("hmm_"),
);

/** The text with its imports blanked. Throws WgslError for what cannot be imported. */
export function takeImports(code: string): string {
  if (!code.includes("import")) return code;
  const tokens = tokensOf(code);
  const errors: ProgramError[] = [];
  let text = code;
  for (let i = 0; tokens[i]?.text === "import";) {
    const statement = new ImportStatement(code, tokens, i);
    errors.push(...statement.errors);
    const first = tokens[i];
    const last = tokens[statement.end];
    // What does not end may have hidden anything behind it.
    if (first === undefined || last === undefined || !statement.isWhole) break;
    const blank = code.slice(first.at, last.end).replace(/[^\n]/gu, " ");
    text = text.slice(0, first.at) + blank + text.slice(last.end);
    i = statement.end + 1;
  }
  if (errors.length > 0) throw new WgslError(errors);
  return text;
}

const NAMELESS = `this "import" names nothing; write ${PACKAGE}::load_u32, say`;
const WORD = /^[\p{XID_Start}_]/u;

/** `import package::{name, name as other};`, read token by token. */
class ImportStatement {
  readonly errors: ProgramError[] = [];
  /** It has its `;`, at the token `end`. */
  readonly isWhole: boolean;
  end: number;
  readonly #code: string;
  readonly #tokens: readonly Token[];
  readonly #first: Token;

  constructor(code: string, tokens: readonly Token[], index: number) {
    this.#code = code;
    this.#tokens = tokens;
    this.#first = tokens[index] ?? { text: "", at: 0, end: 0 };
    this.end = index + 1;
    this.#path();
    this.isWhole = this.#text === ";";
    if (!this.isWhole && this.errors.length === 0)
      this.#refuse(this.#first, 'this "import" has no ";"');
  }

  get #text(): string {
    return this.#tokens[this.end]?.text ?? "";
  }

  #takes(sign: string): boolean {
    if (this.#text !== sign) return false;
    this.end++;
    return true;
  }

  #refuse(token: Token, message: string): void {
    this.errors.push({ ...placeOf(this.#code, token.at), message });
  }

  #path(): void {
    const name = this.#tokens[this.end];
    if (name === undefined || !WORD.test(name.text)) return this.#refuse(this.#first, NAMELESS);
    this.end++;
    if (name.text !== PACKAGE) {
      const message = `only ${PACKAGE} can be imported; link other packages before (npm's wesl)`;
      return this.#refuse(name, message);
    }
    if (!this.#separator()) return;
    const open = this.#tokens[this.end];
    if (open !== undefined && this.#takes("{")) this.#list(open);
    else if (!this.#item()) this.#refuse(this.#first, NAMELESS);
  }

  #separator(): boolean {
    return this.#takes(":") && this.#takes(":");
  }

  #list(open: Token): void {
    while (!this.#takes("}")) {
      const comma = this.#item() && this.#takes(",");
      if (comma || this.#text === "}") continue;
      if (this.errors.length === 0) this.#refuse(open, 'this "{" is not closed, or lacks a ","');
      return;
    }
  }

  /** A name of the library. False: there is none. */
  #item(): boolean {
    const token = this.#tokens[this.end];
    if (token === undefined || !WORD.test(token.text)) return false;
    this.end++;
    if (!PUBLIC_NAMES.includes(token.text)) {
      const near = nearNames(token.text, PUBLIC_NAMES);
      const hint = near.length > 0 ? `; there is ${near.join(", ")}` : "";
      this.#refuse(token, `${PACKAGE} has no "${token.text}"${hint}`);
    }
    const as = this.#tokens[this.end];
    if (as === undefined || !this.#takes("as")) return true;
    this.#refuse(as, `names of ${PACKAGE} cannot be renamed; import them as they are`);
    this.end++;
    return true;
  }
}

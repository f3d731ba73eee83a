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
    const end = tokens.findIndex(({ text: sign }, at) => at > i && sign === ";");
    const first = tokens[i];
    const last = tokens[end];
    if (first === undefined || last === undefined) break;
    errors.push(...errorsOf(code, tokens.slice(i + 1, end)));
    const blank = code.slice(first.at, last.end).replace(/[^\n]/gu, " ");
    text = text.slice(0, first.at) + blank + text.slice(last.end);
    i = end + 1;
  }
  if (errors.length > 0) throw new WgslError(errors);
  return text;
}

/** Of what stands between `import` and `;`. */
function errorsOf(code: string, tokens: readonly Token[]): ProgramError[] {
  const [first] = tokens;
  if (first === undefined) return [];
  const at = (token: Token, message: string): ProgramError => ({
    ...placeOf(code, token.at),
    message,
  });
  if (first.text !== PACKAGE)
    return [at(first, `only ${PACKAGE} can be imported; link other packages before (npm's wesl)`)];
  const renamed = tokens.find(({ text }) => text === "as");
  if (renamed !== undefined)
    return [at(renamed, `names of ${PACKAGE} cannot be renamed; import them as they are`)];
  return tokens
    .slice(1)
    .filter(({ text }) => !"::{},".includes(text) && !PUBLIC_NAMES.includes(text))
    .map((token) => {
      const near = nearNames(token.text, PUBLIC_NAMES);
      const hint = near.length > 0 ? `; there is ${near.join(", ")}` : "";
      return at(token, `${PACKAGE} has no "${token.text}"${hint}`);
    });
}

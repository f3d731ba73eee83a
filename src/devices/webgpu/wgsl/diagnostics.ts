/**
 * @module devices/webgpu/wgsl/diagnostics
 * What the shader compiler says, in places of the user's own text.
 */

/** Something wrong at a place of the user's text. Lines and columns from 1 on. */
export interface ProgramError {
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

/** Where in the user's text something is wrong. Columns and lines from 1 on. */
export class WgslError extends Error {
  readonly errors: readonly ProgramError[];

  constructor(errors: readonly ProgramError[]) {
    super(errors.map(({ line, column, message }) => `${line}:${column}: ${message}`).join("\n"));
    this.errors = errors;
  }
}

/** Line and column, from 1 on, of a place in a text. */
export function placeOf(text: string, at: number): { line: number; column: number } {
  const before = text.slice(0, at);
  const line = before.split("\n").length;
  return { line, column: at - before.lastIndexOf("\n") };
}

/** Text that was put into a line of the user's. */
export interface Insertion {
  /** Line, from 1 on. */
  readonly line: number;
  /** Column of the user's line before which it stands, from 1 on. */
  readonly column: number;
  readonly length: number;
}

/** What is known of where a user's text went. */
export interface UserText {
  readonly userLines: number;
  readonly insertions: readonly Insertion[];
}

/** As WebGPU's GPUCompilationMessage has it: 0 where it knows no place. */
export interface CompilerMessage {
  readonly type: string;
  readonly lineNum: number;
  readonly linePos: number;
  readonly message: string;
}

/** A call that has something of ours behind its name (SPECIAL_NAME of library.ts). */
const SPECIAL_FORM = /\b(ptr_at|arg_(?:u32|i32|f32|ptr)|load_(?:u32|i32|f32))_(?:\d+|item)\b/gu;

/** The errors among what the compiler said. */
export function errorsOf(program: UserText, messages: readonly CompilerMessage[]): ProgramError[] {
  return messages
    .filter(({ type }) => type === "error")
    .map(({ lineNum, linePos, message }) => {
      if (lineNum === 0 || lineNum > program.userLines)
        return {
          line: program.userLines,
          column: 1,
          message: `${message} (in the hmm-ts library)`,
        };
      const column = userColumn(program, lineNum, linePos);
      return { line: lineNum, column, message: message.replace(SPECIAL_FORM, "$1") };
    });
}

/** Takes out what was put into the line before the column. */
function userColumn({ insertions }: UserText, line: number, column: number): number {
  let user = column;
  for (const insertion of insertions) {
    if (insertion.line !== line || user <= insertion.column) continue;
    user = Math.max(insertion.column, user - insertion.length);
  }
  return user;
}

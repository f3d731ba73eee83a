/** @module A word of a command that is printed, as a shell takes it. */

/** Quoted if it has to be. Names of scenarios have no control characters. */
export function shellWord(word: string): string {
  return /^[\w@/.][\w@/.~#-]*$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** @module Aligned rows of text: a bold label, then text. It has no borders. */

import type { Colors } from "./terminal.ts";

/** A label and one or more lines of text. */
export type Row = readonly [label: string, ...lines: readonly string[]];

/** The rows, with the texts in one column and a line break after each line. */
export function formatRows(rows: readonly Row[], colors: Colors): string {
  const width = Math.max(...rows.map(([label]) => label.length));
  const lines: string[] = [];
  for (const [label, ...texts] of rows) {
    for (const [place, text] of texts.entries()) {
      lines.push(`  ${colors.bold((place === 0 ? label : "").padEnd(width))}  ${text}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

/**
 * @module Aligned rows of text: a bold label, then text. It has no borders. On a narrow terminal
 * texts are broken between words, and where labels leave too little room, texts stand below them.
 */

import { stripVTControlCharacters } from "node:util";

import type { Colors } from "./terminal.ts";

/** A label and one or more lines of text. */
export type Row = readonly [label: string, ...lines: readonly string[]];

/** With less room beside the labels, texts stand below them. */
const ROOM_LEAST = 24;
const BELOW = 4;

/**
 * The rows, with the texts in one column and a line break after each line. `columns`: of the
 * terminal; without, lines are as long as they are.
 */
export function formatRows(
  rows: readonly Row[],
  colors: Colors,
  columns: number = Infinity,
): string {
  const width = Math.max(...rows.map(([label]) => label.length));
  const isBeside = columns - width - 4 >= ROOM_LEAST;
  const room = Math.max(1, columns - (isBeside ? width + 4 : BELOW));
  const lines: string[] = [];
  for (const [label, ...texts] of rows) {
    const broken = texts.flatMap((text) => breakLines(text, room));
    if (!isBeside) {
      lines.push(...breakLines(label, columns).map((part) => colors.bold(part)));
      lines.push(...broken.map((part) => " ".repeat(BELOW) + part));
      continue;
    }
    for (const [place, part] of broken.entries())
      lines.push(`  ${colors.bold((place === 0 ? label : "").padEnd(width))}  ${part}`);
  }
  return `${lines.join("\n")}\n`;
}

/**
 * A text in lines of at most `columns` visible characters, broken between words, or in a word that
 * is longer. Colours may be anywhere in it, and are those of the words after them.
 */
export function breakLines(text: string, columns: number): string[] {
  const room = Math.max(1, columns);
  if (visibleLength(text) <= room) return [text];
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/ +/)) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (visibleLength(longer) <= room) {
      line = longer;
      continue;
    }
    if (line !== "") lines.push(line);
    line = word;
    while (visibleLength(line) > room && visibleLength(line) === line.length) {
      lines.push(line.slice(0, room));
      line = line.slice(room);
    }
  }
  return line === "" ? lines : [...lines, line];
}

/** Characters that take a place. */
function visibleLength(text: string): number {
  return stripVTControlCharacters(text).length;
}

/**
 * @module Text in cells of a fixed width: padded, cut, broken into lines. The width is a number of
 * characters.
 */

/** Padded with spaces. */
export function pad(text: string, width: number): string {
  return text.padEnd(width);
}

/** Cut to `width` characters; an ellipsis marks the cut. */
export function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(width - 1, 0))}…`;
}

/** Broken between words. A word that is too long is broken after a dot, or at the width. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = "";
    }
    line = line === "" ? word : `${line} ${word}`;
    while (line.length > width) {
      const dot = line.lastIndexOf(".", width - 1);
      const end = dot > 0 ? dot + 1 : width;
      lines.push(line.slice(0, end));
      line = line.slice(end);
    }
  }
  if (line !== "" || lines.length === 0) lines.push(line);
  return lines;
}

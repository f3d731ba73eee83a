/**
 * @module Text in cells of a fixed width: filled up, cut off, broken into lines. It counts
 * characters, not what a font makes of them.
 */

/** Filled up with blanks. */
export function pad(text: string, width: number): string {
  return text.padEnd(width);
}

/** At most `width` characters; what is missing is shown by an ellipsis. */
export function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(width - 1, 0))}…`;
}

/** Broken between words; a word that is too long is broken behind a dot, or where the line ends. */
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

/** @module Colours as the timeline needs them: any terminal library's functions will do. */

type Brush = (text: string) => string;

/** picocolors' colours are one. */
export interface Paint {
  readonly bold: Brush;
  readonly dim: Brush;
  readonly red: Brush;
  readonly green: Brush;
  readonly yellow: Brush;
  readonly cyan: Brush;
  readonly magenta: Brush;
}

const same: Brush = (text) => text;

/** No colours: for files, for documents, and where NO_COLOR is set. */
export const plainPaint: Paint = {
  bold: same,
  dim: same,
  red: same,
  green: same,
  yellow: same,
  cyan: same,
  magenta: same,
};

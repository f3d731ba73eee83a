/** @module The colours of a timeline, as functions. Those of any terminal library fit. */

type Brush = (text: string) => string;

/** The functions of picocolors fit. */
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

/** No colours: for files, for documents, and if NO_COLOR is set. */
export const plainPaint: Paint = {
  bold: same,
  dim: same,
  red: same,
  green: same,
  yellow: same,
  cyan: same,
  magenta: same,
};

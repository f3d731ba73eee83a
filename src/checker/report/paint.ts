/** @module The colours of a timeline, as functions. Those of any terminal library fit. */

type Brush = (text: string) => string;

/** The functions of picocolors fit. */
export interface Paint {
  /** For headings. */
  readonly bold: Brush;
  /** For what matters less. */
  readonly dim: Brush;
  /** For what went wrong. */
  readonly red: Brush;
  /** For what went well. */
  readonly green: Brush;
  /** For warnings, and for locks held alone. */
  readonly yellow: Brush;
  /** For names and places. */
  readonly cyan: Brush;
  /** For one kind among others. */
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

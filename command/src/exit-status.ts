/**
 * @module How the command ends: 0 all well, 1 something is wrong, 2 it was asked for something that
 * does not exist.
 */

export const EXIT_OK = 0;
export const EXIT_WRONG = 1;
export const EXIT_USAGE = 2;

/** Somebody asked for the impossible. The message is one line and says what to do instead. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "UsageError";
  }
}

/**
 * @module The exit status of the command: 0, all is well; 1, something is wrong; 2, an argument
 * names something that does not exist.
 */

export const EXIT_OK = 0;
export const EXIT_WRONG = 1;
export const EXIT_USAGE = 2;

/** The arguments ask for something impossible. The message is one line and says what to do. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "UsageError";
  }
}

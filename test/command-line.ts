/**
 * @module The options of the project's own long commands (`npm run kills` and its like): what is
 * wrong with them is told in one line, and `--help` in a few. Exit status 2: a bad option.
 */

import { type ParseArgsConfig, parseArgs } from "node:util";

type Options = NonNullable<ParseArgsConfig["options"]>;
type Values<T extends Options> = ReturnType<typeof parseArgs<{ options: T }>>["values"];

export class CommandLine {
  /** As people type it: `npm run kills`. */
  readonly #command: string;
  readonly #help: string;

  /** `help`: what it does, and a line for each option. */
  constructor(command: string, help: string) {
    this.#command = command;
    this.#help = help;
  }

  /** Ends the process: the command cannot be used so. */
  refuse(reason: string): never {
    process.stderr.write(`${this.#command}: ${reason}\n`);
    process.exit(2);
  }

  read<const T extends Options>(options: T): Values<T> {
    const args = process.argv.slice(2);
    if (args.includes("--help") || args.includes("-h")) {
      process.stdout.write(`${this.#help.trim()}\n`);
      process.exit(0);
    }
    try {
      return parseArgs({ args, options }).values;
    } catch (error) {
      return this.refuse(error instanceof Error ? (error.message.split("\n")[0] ?? "") : "");
    }
  }

  /** From 0 on, or from 1 on where with 0 nothing would be done, and all be well. */
  wholeNumber(name: string, text: string, least: 0 | 1 = 0): number {
    if (/^\d{1,9}$/.test(text) && Number(text) >= least) return Number(text);
    const wanted = `a whole number ${least === 1 ? "from 1 on, " : ""}below 10^9`;
    return this.refuse(`--${name} is ${JSON.stringify(text)}; give ${wanted}`);
  }
}

/**
 * @module The `hmm` command: finds the command, runs it, and turns every outcome into one exit
 * status and, for errors, one line. commander parses the arguments. Its own ways to print errors
 * and to end the process are replaced, so that tests can run the program.
 */

import { readFileSync } from "node:fs";

import { Command, CommanderError } from "commander";

import type { AddCommand, CommandContext } from "./command.ts";
import { addCheck } from "./check/check-command.ts";
import { addConformance } from "./conformance/conformance-command.ts";
import { EXIT_OK, EXIT_USAGE, EXIT_WRONG, UsageError } from "./exit-status.ts";
import { addRun } from "./run.ts";
import { addReplay } from "./replay/replay-command.ts";
import { addFuzz } from "./fuzz/fuzz-command.ts";
import { addMerge } from "./merge/merge-command.ts";
import { isModulePath } from "./check/scenario-modules.ts";
import { superviseCommand } from "./supervision/supervisor.ts";
import type { Terminal } from "./terminal.ts";

/** Columns of the help where there is no terminal. */
const HELP_WIDTH = 80;
/** The help's texts are broken into lines that may be as short as this. */
const WRAP_LEAST = 8;

/** The commands in the order of the help. To add one, add a file and a line here. */
const COMMANDS: readonly AddCommand[] = [
  addRun,
  addCheck,
  addReplay,
  addFuzz,
  addMerge,
  addConformance,
];

/**
 * Runs `hmm` with `args` (what follows the command's name) and returns its exit status. Never
 * throws, never exits. A command that imports a user's modules runs in a Worker, in which
 * `isSupervised` is true.
 */
export async function runProgram(
  args: readonly string[],
  terminal: Terminal,
  isSupervised: boolean = false,
): Promise<number> {
  const context: CommandContext = { terminal, exitStatus: EXIT_OK };
  const program = createProgram(context);
  try {
    if (args.length === 0) program.outputHelp();
    else if (!isSupervised && importsModules(args)) return await superviseCommand(args, terminal);
    else await program.parseAsync([...args], { from: "user" });
    return context.exitStatus;
  } catch (error) {
    // --help, --version
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT_OK;
    const usage = error instanceof CommanderError || error instanceof UsageError;
    const line = usage ? usageLine(error, commandPath(program, args)) : failureLine(error);
    terminal.err.write(`${terminal.errColors.red("hmm:")} ${line}\n`);
    return usage ? EXIT_USAGE : EXIT_WRONG;
  }
}

/** Whether a command would import modules of the user's. */
function importsModules([command = "", ...rest]: readonly string[]): boolean {
  return (
    ["check", "replay"].includes(command) &&
    rest.some((arg) => isModulePath(arg.split(/[#@]/, 1)[0] ?? ""))
  );
}

function createProgram(context: CommandContext): Command {
  const { terminal } = context;
  const program = new Command("hmm")
    .description("One virtual address space, shared by CPU threads and compute devices.")
    .version(packageVersion(), "--version", "print the version")
    .helpOption("-h, --help", "show help")
    .helpCommand(false)
    .configureHelp({ minWidthToWrap: WRAP_LEAST })
    .exitOverride()
    .configureOutput({
      getOutHelpWidth: () => terminal.out.columns ?? HELP_WIDTH,
      writeOut: (text) => void terminal.out.write(text),
      writeErr: () => {}, // runProgram prints errors
    });
  for (const add of COMMANDS) add(program, context);
  return program;
}

/** The command that `args` lead to, in words: `hmm run geocode`. */
function commandPath(program: Command, args: readonly string[]): string {
  const path = [program.name()];
  let command = program;
  for (const arg of args) {
    const next = command.commands.find((candidate) => candidate.name() === arg);
    if (next === undefined) break;
    path.push(arg);
    command = next;
  }
  return path.join(" ");
}

/** The message of commander as one sentence, with a hint. */
function usageLine(error: CommanderError | UsageError, path: string): string {
  if (error instanceof UsageError) return error.message;
  const message = error.message.replace(/^error: /, "").replaceAll(/\s*\n\s*/g, " ");
  const sentence = message.charAt(0).toUpperCase() + message.slice(1);
  return `${sentence.replace(/\.$/, "")}; \`${path} --help\` shows what there is`;
}

/** Errors of the address space say what to do. Others are bugs, so their stack is shown. */
function failureLine(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if ("code" in error && typeof error.code === "string") return `${error.message} (${error.code})`;
  return error.stack ?? error.message;
}

/** From package.json, which lies above this file both in the package and in a build for tests. */
function packageVersion(): string {
  const manifest = new URL(import.meta.resolve("hmm-ts/package.json"));
  const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string };
  return version;
}

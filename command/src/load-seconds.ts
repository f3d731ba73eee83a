/** @module The option `--load-seconds`, of the commands that import a user's modules. */

import { Option } from "commander";

import { seconds } from "./option-values.ts";

const LOAD_SECONDS_DEFAULT = 30;
const LOAD_SECONDS_LIMIT = 24 * 3600;

/** How long an import, a setup or one step of a task may take. */
export function loadSecondsOption(): Option {
  return new Option(
    "--load-seconds <number>",
    "how long the import of a module, a setup or a step of a task may take, until it is ended",
  )
    .argParser(seconds("--load-seconds", LOAD_SECONDS_LIMIT))
    .default(LOAD_SECONDS_DEFAULT);
}

/**
 * @module Runs one program to its end, without a terminal, within a time, and keeps what it
 * printed.
 */

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/** The repository's root, with a slash at its end. */
export const rootPath = fileURLToPath(new URL("../../", import.meta.url));

/** @typedef {{ ok: boolean, status: string, stdout: string, output: string }} CommandResult */

/**
 * `status` says how it ended, in words; `output` is standard output and standard error as they
 * came.
 * @param {string} program
 * @param {readonly string[]} args
 * @param {{ cwd?: string, timeoutMs?: number, environment?: Record<string, string> }} [options]
 * @returns {Promise<CommandResult>}
 */
export function runCommand(
  program,
  args,
  { cwd = rootPath, timeoutMs = 300_000, environment = {} } = {},
) {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0", ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    // Not spawn's own timeout: that keeps its timer when the program could not be started.
    const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
    let stdout = "";
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      stdout += text;
      output += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      output += text;
    });
    child.on("error", (error) => {
      clearTimeout(timer);
      resolve({ ok: false, status: error.message, stdout, output });
    });
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      const status =
        signal === null
          ? `exit status ${code}`
          : `killed by ${signal} (limit ${timeoutMs / 1000} s)`;
      resolve({ ok: code === 0, status, stdout, output });
    });
  });
}

/**
 * Runs the command of an installed development dependency, such as `tsc`.
 * @param {string} name
 * @param {readonly string[]} args
 * @param {{ cwd?: string, timeoutMs?: number }} [options]
 */
export function runTool(name, args, options) {
  return runCommand(`${rootPath}node_modules/.bin/${name}`, args, options);
}

/**
 * @module The thread that ends a process whose main thread hangs. It measures processor time
 * without a sign of life, because a busy machine makes everything slow. A thread that waits for
 * ever uses no processor time, so there is also a long limit of real time.
 */

import { writeSync } from "node:fs";
import { workerData } from "node:worker_threads";

/** No scenario takes so long for one execution. */
const CPU_SECONDS = 8;
const WALL_SECONDS = 120;
const LOOK_MS = 500;

/** What the thread says before it ends the process. */
export const STANDSTILL = '{"standstill":true}';

function cpuSeconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/**
 * @param {Int32Array} signs Its word 0 changes with each sign of life, its word 1 is 0 while there
 *   is nothing to do.
 * @param {number} limit Seconds of processor time.
 */
function watch(signs, limit) {
  let seen = -1;
  let [cpuAt, wallAt] = [0, 0];
  setInterval(() => {
    const sign = Atomics.load(signs, 0);
    const [cpu, wall] = [cpuSeconds(), performance.now() / 1000];
    const isIdle = Atomics.load(signs, 1) === 0;
    if (isIdle || sign !== seen) [seen, cpuAt, wallAt] = [sign, cpu, wall];
    if (cpu - cpuAt < limit && wall - wallAt < WALL_SECONDS) return;
    writeSync(1, `\n${STANDSTILL}\n`);
    process.kill(process.pid, "SIGKILL");
  }, LOOK_MS);
}

if (workerData?.signs !== undefined) {
  watch(new Int32Array(workerData.signs), workerData.standstillSeconds ?? CPU_SECONDS);
}

/**
 * @module The cases of Linux's HMM selftests (`tools/testing/selftests/mm/hmm-tests.c`) that run
 * here, under the suite's names. A case that cannot run yet is not in the table.
 */

import type { Fixture } from "./fixture.ts";

/** One test of the suite. It throws where the suite's assertion would fail. */
export interface ConformanceCase {
  /** The suite's fixture: one device, or two. */
  readonly fixture: "hmm" | "hmm2";
  readonly name: string;
  readonly run: (fixture: Fixture) => Promise<void>;
}

/** Tests of the suite, each on a device-private and on a device-coherent device: 78 cases. */
export const SUITE_TESTS = 39;

/**
 * @module The cases of Linux's HMM selftests (`tools/testing/selftests/mm/hmm-tests.c`), under the
 * suite's names.
 */

import type { Fixture } from "./fixture.ts";

/** One test of the suite. It throws where the suite's assertion would fail. */
export interface ConformanceCase {
  /**
   * The suite's fixture: one device, or two. "beyond" and "beyond2" have as many, for tests that
   * the suite does not have.
   */
  readonly fixture: "hmm" | "hmm2" | "beyond" | "beyond2";
  readonly name: string;
  readonly run: (fixture: Fixture) => Promise<void>;
  /** RAM of the space, and memory of each device, where the usual is too small. */
  readonly ramBytes?: number;
  readonly deviceBytes?: number;
  /** As in the suite: a case that takes longer has failed. Default 30,000. */
  readonly timeLimitMs?: number;
}

/** Tests of the suite, each on a device-private and on a device-coherent device: 78 cases. */
export const SUITE_TESTS = 39;

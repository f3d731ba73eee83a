/**
 * @module Replays a trace of the kernel's answers on address spaces of ours, step by step. Every
 * answer must be the same, and after each change the mappings, but for the kinds of docs/LINUX.md
 * on which we mean to differ. Each of these has a condition of its own, which must hold for the
 * step at hand, and what ours does instead is checked as well:
 *
 *   E' the limit of mappings: the kernel refuses what it may have no room for in between, and lets
 *      mmap make one more; ours counts what is there afterwards.
 *   H  mprotect over a hole: ENOMEM on both; the kernel has changed what lies before the hole.
 *   M  mremap under a limit of pages: the kernel counts what grows, ours also what goes.
 *   N  mremap to a given place that fails late: the kernel has unmapped the place.
 *   O  mremap across neighbours that are one mapping of ours: the kernel keeps some apart.
 *   D  only on kernels before 6.17: mremap does not move several mappings.
 *
 * After such a step ours is brought to where the kernel is, so that the trace can go on.
 */

import { HmmError } from "../../src/index.ts";
import { playAccess, playCopy, playDump, playFrames } from "./access-steps.ts";
import { playMadvise, playMmap, playMprotect, playMunmap } from "./mapping-steps.ts";
import { playMremap } from "./mremap-step.ts";
import { Play, type Replica, type Scene, Undecided } from "./play.ts";
import type { Step } from "./trace-text.ts";
import type { TracedSpace } from "./traced-space.ts";
import { WindowMap } from "./window-map.ts";

export class Replay {
  readonly #scene: Scene;
  readonly #replicas: Map<number, Replica> = new Map<number, Replica>();

  /** `first` is an empty address space with the trace's limit; it is the replay's from now on. */
  constructor(scene: Scene, first: TracedSpace) {
    this.#scene = scene;
    const map = WindowMap.parse(".".repeat(scene.windowPages));
    this.#replicas.set(0, { space: first, guest: 0, map, splits: new Set() });
  }

  /** Throws Mismatch at the first step on which ours differs. Ends at a step that is undecided. */
  run(): void {
    try {
      for (const [i, step] of this.#scene.trace.steps.entries()) this.#step(step, i + 1);
    } catch (error) {
      if (!(error instanceof Undecided)) throw error;
    } finally {
      for (const { space } of this.#replicas.values()) space.disposeSync();
    }
  }

  #step(step: Step, number: number): void {
    const replica = this.#replicas.get(step.space);
    if (replica === undefined) throw new Error(`trace.c uses space ${step.space}, which is none`);
    const play = new Play(this.#scene, replica, step, number);
    try {
      this.#play(play, step, replica);
    } catch (error) {
      // Where ours cannot be brought to where the kernel is: nothing else is left uncaught.
      if (error instanceof HmmError) play.fail(error.message);
      throw error;
    }
  }

  #play(play: Play, step: Step, replica: Replica): void {
    switch (step.call) {
      case "mmap":
        return playMmap(play);
      case "munmap":
        return playMunmap(play);
      case "mprotect":
        return playMprotect(play);
      case "madvise":
        return playMadvise(play);
      case "mremap":
        return playMremap(play);
      case "read":
      case "write":
        return playCopy(play);
      case "dump":
        return playDump(play);
      case "frames":
        return playFrames(play);
      case "fork":
        this.#replicas.set(Number(play.kernels), { ...replica, space: replica.space.forkSync() });
        return;
      case "exit":
        replica.space.disposeSync();
        this.#replicas.delete(step.space);
        return;
      default:
        return playAccess(play);
    }
  }
}

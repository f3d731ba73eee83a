/**
 * @module One run of the program on a machine of its own: it is stepped, and read after each step.
 * Nothing here draws.
 */

import type { AddressSpace, SpaceCounts } from "hmm-ts";
import { type Machine, openMachine } from "./machine.ts";
import { type Pause, program } from "./program.ts";
import { type Reading, readMachine } from "./reading.ts";
import type { Invalidation } from "./watcher.ts";

/** Where a session stands. */
export interface Standing {
  readonly steps: number;
  /** What the next step does; of the last, that there is none. */
  readonly text: string;
  readonly reading: Reading;
}

export class Session {
  readonly #machine: Machine;
  readonly #program: AsyncGenerator<Pause, void>;
  #steps = 0;
  #child: AddressSpace | undefined;
  #counts: SpaceCounts | undefined;

  private constructor(machine: Machine) {
    this.#machine = machine;
    this.#program = program(machine);
  }

  /** Rejects when shared memory or a Worker cannot be had. */
  static async open(): Promise<{ session: Session; standing: Standing }> {
    const session = new Session(await openMachine());
    return { session, standing: await session.#advance() };
  }

  /** Runs the next step. Rejects with what the program threw. */
  async step(): Promise<Standing> {
    this.#steps++;
    return await this.#advance();
  }

  /** Invalidations of the parent since the last call. A step may be under way. */
  takeInvalidations(): Promise<readonly Invalidation[]> {
    return this.#machine.watcher.take();
  }

  async #advance(): Promise<Standing> {
    const { value, done } = await this.#program.next();
    if (done === true) throw new Error("The program has ended");
    const { text, child } = value;
    this.#child = child;
    const reading = await readMachine(this.#machine, child, this.#counts);
    this.#counts = reading.childCounts;
    return { steps: this.#steps, text, reading };
  }

  /** No step may be under way. Ends the Workers, and the space. */
  async dispose(): Promise<void> {
    await this.#child?.dispose();
    await this.#machine.dispose();
  }
}

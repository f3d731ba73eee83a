/**
 * @module When a thread that lacks a buffer sends a question, and for how long it receives: until
 * the section has come, no longer and no shorter.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { SectionChannel, type SectionStore } from "../../src/host/section-channel.ts";

/** The store of a thread without sections. */
const EMPTY: SectionStore = { handles: [], adopt: () => false };

let machines = 0;

interface Joined {
  readonly channel: SectionChannel;
  /** The kinds of messages that the other end has received, after a turn of the event loop. */
  readonly sent: () => Promise<string[]>;
  /** Sends a message without a section. */
  readonly speak: () => void;
  readonly close: () => void;
}

/** A thread that is joined with another one, which is played here. */
async function join(): Promise<Joined> {
  const channel = new SectionChannel(`section-channel-test-${machines++}`, EMPTY);
  const { port1, port2 } = new MessageChannel();
  const kinds: string[] = [];
  let onSent = (): void => {};
  port2.addEventListener("message", (event) => {
    const { kind } = (event as MessageEvent).data as { kind: string }; // as this file sends them
    kinds.push(kind);
    if (kind === "last") onSent();
  });
  port2.start();
  channel.connect(port1);
  const sent = async (): Promise<string[]> => {
    const isOver = new Promise<void>((resolve) => {
      onSent = resolve;
    });
    // Comes after all that the thread has sent before.
    port1.postMessage({ kind: "last" });
    await isOver;
    return kinds.splice(0).filter((kind) => kind !== "last");
  };
  assert.deepEqual(await sent(), ["question"], "who begins to listen asks");
  const close = (): void => {
    channel.close();
    port2.close();
  };
  return { channel, sent, speak: () => port2.postMessage("nothing"), close };
}

test("who has the section already asks nobody", async () => {
  const { channel, sent, close } = await join();
  assert.equal(
    channel.lookUntil(() => true),
    true,
  );
  assert.equal(await channel.waitUntil(() => true, 1), true);
  assert.deepEqual(await sent(), []);
  close();
});

test("who blocks asks, looks again, and stops when the section has come", async () => {
  const { channel, sent, close } = await join();
  let looks = 0;
  assert.equal(
    channel.lookUntil(() => ++looks === 3),
    true,
  );
  assert.equal(looks, 3);
  assert.deepEqual(await sent(), ["question"]);
  close();
});

test("who waits asks, and a message that brings something else ends nothing", async () => {
  const { channel, sent, speak, close } = await join();
  let looks = 0;
  const waiting = channel.waitUntil(() => ++looks === 4, 2 ** 30);
  for (let i = 0; i < 3; i++) speak();
  assert.equal(await waiting, true);
  assert.equal(looks, 4, "once at first, and once for each message");
  assert.deepEqual(await sent(), ["question"]);
  close();
});

test("who has waited long enough is told that nothing came", async () => {
  const { channel, close } = await join();
  assert.equal(await channel.waitUntil(() => false, 1), false);
  close();
});

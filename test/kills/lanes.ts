/**
 * @module The lanes of `npm run kills`, by host: in Node a process each, in Chromium a page of a
 * browser of its own, with the lane in a Worker. A lane that hangs is ended, and the next order
 * begins it anew.
 */

import { type ChildProcess, fork } from "node:child_process";
import type { Browser, Page } from "playwright-core";
import { launchChromium } from "../browser/chromium-page.ts";
import { type StaticServer, startStaticServer } from "../browser/static-server.ts";
import type { Kill, KillOrder, Outcome } from "./kill.ts";

/** Kills, one at a time. */
export interface Lane {
  kill(order: KillOrder): Promise<Kill>;
  end(): Promise<void>;
}

/** `silenceMs`: a lane that takes longer for a kill hangs. */
export type StartLane = (silenceMs: number) => Lane;

function failed(order: KillOrder, outcome: Outcome, detail: string): Kill {
  return { ...order, outcome, noticedMs: 0, frames: 0, objects: {}, detail };
}

export function startProcessLane(silenceMs: number): Lane {
  let child: ChildProcess | undefined;
  const end = (): Promise<void> => {
    child?.removeAllListeners();
    child?.kill("SIGKILL");
    child = undefined;
    return Promise.resolve();
  };
  const kill = (order: KillOrder): Promise<Kill> => {
    const lane = (child ??= fork(new URL("./kill-lane-agent.js", import.meta.url), [], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    }));
    return new Promise((resolve) => {
      const answer = (result: Kill): void => {
        clearTimeout(timer);
        lane.removeAllListeners();
        resolve(result);
      };
      const fail = (outcome: Outcome, detail: string): void => {
        void end();
        answer(failed(order, outcome, detail));
      };
      const timer = setTimeout(() => fail("hung", `no answer in ${silenceMs} ms`), silenceMs);
      lane.once("message", (result: Kill) => answer(result));
      lane.once("exit", (code, signal) => fail("wrong", `its process ended: ${code ?? signal}`));
      lane.send(order);
    });
  };
  return { kill, end };
}

/** `executablePath`: of the Chromium. */
export function startChromiumLane(executablePath: string, silenceMs: number): Lane {
  let server: StaticServer | undefined;
  let browser: Browser | undefined;
  let page: Page | undefined;
  const open = async (): Promise<Page> => {
    server ??= await startStaticServer(true);
    browser = await launchChromium(executablePath, true);
    page = await browser.newPage();
    await page.goto(`${server.origin}/`);
    return page;
  };
  const close = async (): Promise<void> => {
    page = undefined;
    await browser?.close();
  };
  const kill = async (order: KillOrder): Promise<Kill> => {
    const lane = page ?? (await open());
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<Kill>((resolve) => {
      const hang = (): void => resolve(failed(order, "hung", `no answer in ${silenceMs} ms`));
      timer = setTimeout(hang, silenceMs);
    });
    const script = `import("/test/kills/kill-lane.page.js").then((m) => m.kill(${JSON.stringify(order)}))`;
    const answered = lane
      .evaluate<Kill>(script)
      .catch((error: unknown) => failed(order, "wrong", String(error)));
    const result = await Promise.race([answered, silence]);
    clearTimeout(timer);
    // What the page says after its end is nobody's business.
    if (result.outcome === "hung" || result.outcome === "wrong") await close();
    return result;
  };
  const end = async (): Promise<void> => {
    await close();
    await server?.close();
  };
  return { kill, end };
}

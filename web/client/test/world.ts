// Surroundings that a test moves by hand: a clock, a network of scripted answers, moods.
import type { Mood, Platform } from "../src/index.js";

interface Timer {
  at: number;
  call: () => void;
}

/** What a request is answered with; *chunks* that are numbers wait so long, "cut" breaks the line, "hang" keeps it open. */
export interface Reply {
  status?: number;
  headers?: Record<string, string>;
  body?: string;
  chunks?: (string | number | "cut" | "hang")[];
}

export class FakeWorld {
  time = 1_000_000;
  timers = new Set<Timer>();
  requests: { url: string; init: RequestInit }[] = [];
  replies: (Reply | Error | "hang")[] = [];
  waits: number[] = [];
  #listeners = new Set<(mood: Mood) => void>();

  readonly platform: Platform = {
    now: () => this.time,
    random: () => 0.5,
    breathe: async () => undefined,
    after: (milliseconds, call) => {
      const timer = { at: this.time + milliseconds, call };
      this.timers.add(timer);
      return () => void this.timers.delete(timer);
    },
    moods: (listener) => {
      this.#listeners.add(listener);
      return () => void this.#listeners.delete(listener);
    },
    sha256: (bytes) => crypto.subtle.digest("SHA-256", bytes),
    eventSource: null,
    fetch: (url, init = {}) => this.#fetch(url, init),
  };

  get listeners(): number {
    return this.#listeners.size;
  }

  mood(mood: Mood): void {
    for (const listener of [...this.#listeners]) listener(mood);
  }

  headers(request: number): Record<string, string> {
    return this.requests[request]?.init.headers as Record<string, string>;
  }

  /** Let what can go on go on, then move the clock to the next timer, until *until* is true. */
  async run(until: () => boolean, most = 1000): Promise<void> {
    for (let i = 0; i < most; i++) {
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
      if (until()) return;
      const next = [...this.timers].sort((a, b) => a.at - b.at)[0];
      if (!next) continue;
      this.timers.delete(next);
      this.waits.push(next.at - this.time);
      this.time = Math.max(this.time, next.at);
      next.call();
    }
    throw new Error("it never came to that");
  }

  async #fetch(url: string, init: RequestInit): Promise<Response> {
    this.requests.push({ url, init });
    const reply = this.replies.shift() ?? "hang";
    const aborted = (reject: (error: Error) => void): void => {
      const fail = (): void => reject(new DOMException("aborted", "AbortError"));
      if (init.signal?.aborted) fail();
      init.signal?.addEventListener("abort", fail);
    };
    if (reply === "hang") return new Promise((_, reject) => aborted(reject));
    if (reply instanceof Error) throw reply;
    const { status = 200, headers = { "content-type": "text/event-stream" }, body, chunks } = reply;
    const init_ = { status, headers };
    if (chunks === undefined) return new Response(status === 204 ? null : (body ?? ""), init_);
    const left = [...chunks];
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => aborted((error) => controller.error(error)),
      pull: async (controller) => {
        const next = left.shift();
        if (next === undefined) controller.close();
        else if (next === "cut") controller.error(new TypeError("network error"));
        else if (next === "hang") await new Promise(() => undefined);
        else if (typeof next === "number") {
          await new Promise<void>((resolve) => void this.platform.after(next, resolve));
          controller.enqueue(new TextEncoder().encode(": hb\n\n"));
        } else controller.enqueue(new TextEncoder().encode(next));
      },
    });
    return new Response(stream, init_);
  }
}

export function frame(kind: string, data: unknown, id?: string): string {
  return `event: ${kind}\ndata: ${JSON.stringify(data)}\n${id === undefined ? "" : `id: ${id}\n`}\n`;
}

export const STARTED = frame("started", { stream: "st_1", model: "m", created: 1 }, "1-0.1");
export const text = (t: string, seq: number): string => frame("text", { t }, `1-${seq}`);

/** The end of a stream whose text was *all*, with *events* before it. */
export async function done(all: string, events: number, seq: number, state = "completed"): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(all)));
  return frame("done", { state, events, text_sha256: Buffer.from(digest).toString("hex") }, `1-${seq}`);
}

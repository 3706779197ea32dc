/** What the client needs of its surroundings; tests give their own. */
export interface Platform {
  fetch(input: string, init?: RequestInit): Promise<Response>;
  /** Milliseconds since 1970, with fractions, never going back within a page. */
  now(): number;
  /** Calls once after so many milliseconds; the result takes that back. */
  after(milliseconds: number, call: () => void): () => void;
  /** Lets whatever else is due have its turn: input, frames, timers. */
  breathe(): Promise<void>;
  /** From 0 to 1, as Math.random. */
  random(): number;
  /** Tells when the page sleeps, comes back or ends, and when the network may have changed; the result unsubscribes. */
  moods(listener: (mood: Mood) => void): () => void;
  /** SHA-256, or null where there is none: browsers give it to secure contexts only. */
  sha256: ((bytes: Uint8Array<ArrayBuffer>) => Promise<ArrayBuffer>) | null;
  /** A native EventSource; null where there is none. */
  eventSource: ((url: string) => EventSource) | null;
}

/**
 * - `asleep`: the page goes into the back/forward cache, which an open response would keep it out of
 * - `awake`: it is back, visible again or online: a connection that looks open may be dead
 * - `ended`: it goes and cannot come back: closed, reloaded, or left without that cache
 */
export type Mood = "asleep" | "awake" | "ended";

/** The browser, or Node. */
export const platform: Platform = {
  fetch: (input, init) => globalThis.fetch(input, init),
  now: () => performance.timeOrigin + performance.now(),
  after: (milliseconds, call) => {
    const timer = setTimeout(call, milliseconds);
    return () => clearTimeout(timer);
  },
  breathe: () =>
    new Promise((resolve) => {
      // A message: scheduler.yield would come back before timers that are due, setTimeout waits 4 ms once nested.
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      port2.postMessage(null);
    }),
  random: Math.random,
  moods,
  sha256: globalThis.crypto?.subtle ? (bytes) => crypto.subtle.digest("SHA-256", bytes) : null,
  eventSource: typeof EventSource === "undefined" ? null : (url) => new EventSource(url),
};

function moods(listener: (mood: Mood) => void): () => void {
  if (typeof document === "undefined" || typeof addEventListener === "undefined") return () => undefined;
  const awake = (): void => listener("awake");
  const gone = (event: PageTransitionEvent): void => listener(event.persisted ? "asleep" : "ended");
  const visible = (): void => {
    if (document.visibilityState === "visible") awake();
  };
  const restored = (event: PageTransitionEvent): void => {
    if (event.persisted) awake();
  };
  addEventListener("pagehide", gone);
  addEventListener("pageshow", restored);
  addEventListener("online", awake);
  document.addEventListener("visibilitychange", visible);
  return () => {
    removeEventListener("pagehide", gone);
    removeEventListener("pageshow", restored);
    removeEventListener("online", awake);
    document.removeEventListener("visibilitychange", visible);
  };
}

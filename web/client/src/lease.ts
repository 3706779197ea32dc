import type { Platform } from "./platform.js";

/** Of a lease: two renewals may be lost, and the third is in time. */
const SHARE = 1 / 3;

/**
 * Says for one connection that its reader is there, for relays behind proxies that hide when it leaves.
 *
 * By timers, which browsers slow down in hidden pages (Chromium: to one a minute after five minutes): a lease for a page
 * that shall go on in the background is three minutes at least. Back in sight, it is renewed at once.
 */
export class Renewing {
  readonly #platform: Platform;
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #milliseconds: number;
  readonly #lapsed: () => void;
  #stopTimer: () => void = () => undefined;
  #stopped = false;

  private constructor(platform: Platform, url: string, headers: Record<string, string>, seconds: number, lapsed: () => void) {
    this.#platform = platform;
    this.#url = url;
    this.#headers = headers;
    this.#milliseconds = seconds * 1000;
    this.#lapsed = lapsed;
    this.#arm();
  }

  /** Null where the relay granted no lease: it knows none, or the stream is over. *lapsed*: it has let go of the reader. */
  static of(platform: Platform, events: string, given: Record<string, string>, granted: Headers, lapsed: () => void): Renewing | null {
    const id = granted.get("x-tokenwire-lease-id");
    const seconds = Number(granted.get("x-tokenwire-lease") ?? "");
    if (id === null || !(seconds > 0)) return null;
    return new Renewing(platform, beside(events, "lease"), { ...given, "x-tokenwire-lease-id": id }, seconds, lapsed);
  }

  /** Not at the next time, but now. */
  now(): void {
    this.#stopTimer();
    void this.#renew();
  }

  stop(): void {
    this.#stopped = true;
    this.#stopTimer();
  }

  #arm(): void {
    if (this.#stopped) return;
    this.#stopTimer = this.#platform.after(this.#milliseconds * SHARE * (0.8 + 0.4 * this.#platform.random()), () => this.now());
  }

  async #renew(): Promise<void> {
    this.#arm(); // whatever becomes of this one
    try {
      const response = await this.#platform.fetch(this.#url, { method: "POST", headers: this.#headers, cache: "no-store" });
      await response.text();
      if (response.status !== 404 || this.#stopped) return;
    } catch {
      return; // the connection itself will tell, if the relay is gone
    }
    this.stop();
    this.#lapsed();
  }
}

/**
 * Stop a stream as its page ends. The request outlives the page; nobody hears its answer.
 *
 * `fetch` with keepalive and not `sendBeacon`, which can set no headers: no key, and no type that the relay takes.
 */
export function cancelBeacon(platform: Platform, events: string, headers: Record<string, string>): void {
  const init: RequestInit = { method: "POST", keepalive: true, cache: "no-store", headers };
  platform.fetch(beside(events, "cancel"), init).catch(() => undefined);
}

/** Whether generation stops when the last reader leaves. */
export function cancels(onDisconnect: string | undefined): boolean {
  return /^(cancel|linger=0+(\.0*)?)$/.test(onDisconnect ?? "");
}

/** Another route of the stream whose events are at that address. */
function beside(events: string, route: string): string {
  return events.replace(/\/events(\?.*)?$/, `/${route}`);
}

import { Backoff } from "./backoff.js";
import { ConnectionError, HttpError, NotResumable, ProtocolError, TokenwireError, refused } from "./errors.js";
import { type Read, estimate, parseEvent } from "./events.js";
import { seen } from "./ids.js";
import { Renewing, cancelBeacon, cancels } from "./lease.js";
import type { Mood, Platform } from "./platform.js";
import { SseDecoder, type SseEvent } from "./sse.js";

/** What the connection does, for whoever shows it. */
export type Situation =
  | { state: "connecting"; attempt: number }
  | { state: "open" }
  | { state: "waiting"; milliseconds: number; because: string };

export interface FollowOptions {
  /** Go on behind this id; null or missing: from the start. */
  after?: string | null;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /**
   * Seconds after which the relay takes this reader to have left, unless it says that it is there, which it does by
   * itself: for proxies that hide when a connection has ended. In hidden pages browsers slow timers down: there, 180.
   */
  lease?: number;
  /**
   * What the stream was started with. Under `cancel`, the end of the page stops it, though its connection may seem to
   * live on; not so a page that goes into the back/forward cache, whose connection is closed as any other.
   */
  onDisconnect?: string;
  onSituation?: (situation: Situation) => void;
  /** Kinds that this version does not know: they count for the integrity check all the same. */
  onUnknown?: (name: string, id: string | null) => void;
  /** So many failures in a row, without a healthy connection between, are the end. */
  tries?: number;
}

/** The relay's heartbeat comes after 10 s of silence; two of them lost, and some: the socket is dead. */
export const SILENCE = 25_000;
/** An answer that has not begun by then: the socket was dead when we wrote to it. */
export const OPENING = 8_000;
/**
 * What is there already is read without a turn of the event loop between: with a backlog (a slow machine, a woken page)
 * input and frames would wait for all of it. So after so long they get their turn.
 */
const SLICE = 10;
/** Back from sleep, a connection that missed one heartbeat is not trusted any more. */
const STALE = 12_000;
const TRIES = 12;

/**
 * The events of a native stream, from anywhere, through lost connections, each exactly once, until `done`.
 *
 * Ends early, without `done`, only if *after* was the end already. Leaving the loop, or aborting the signal, closes the
 * connection and throws nothing; the stream itself goes on (see Client.cancel).
 *
 * Throws HttpError (the relay refuses), NotResumable (and has no snapshot), ConnectionError (after so many tries),
 * ProtocolError (what comes is no stream of ours).
 */
export async function* follow(
  url: string,
  platform: Platform,
  options: FollowOptions = {},
): AsyncGenerator<Read, void, undefined> {
  if (!cancels(options.onDisconnect)) return yield* through(url, platform, options);
  const stop = platform.moods((mood) => mood === "ended" && cancelBeacon(platform, url, options.headers ?? {}));
  try {
    yield* through(url, platform, options);
  } finally {
    stop();
  }
}

async function* through(url: string, platform: Platform, options: FollowOptions): AsyncGenerator<Read, void, undefined> {
  const { signal, lease } = options;
  const tell = options.onSituation ?? (() => undefined);
  const backoff = new Backoff(platform.random);
  const tries = options.tries ?? TRIES;
  let cursor = options.after ?? null;
  let snapshot = false;
  let retry = 0;
  while (!signal?.aborted) {
    tell({ state: "connecting", attempt: backoff.failures });
    const attempt = new Attempt(platform, signal);
    const decoder = new SseDecoder();
    let failure: unknown = null;
    let moved = false;
    try {
      const reader = await attempt.open(address(url, cursor, snapshot), headers(options, cursor, snapshot));
      if (reader === null) return; // 204: over, and nothing is left
      tell({ state: "open" });
      if (lease !== undefined) attempt.renew(url, options.headers ?? {});
      // After a reset, ids from before it are no place to go on from, until an event has one of its own.
      let stale = false;
      let held: Read | null = null;
      let slice = platform.now();
      for (let chunk = await attempt.read(reader); chunk !== null; chunk = await attempt.read(reader)) {
        const at = platform.now();
        for (const raw of decoder.feed(chunk)) {
          if (platform.now() - slice > SLICE) {
            await platform.breathe();
            slice = platform.now();
          }
          if (raw.retry !== null) retry = raw.retry;
          if (raw.ownId) stale = false;
          const event = understood(stale ? { ...raw, id: null } : raw, at);
          // News beside the answer come with the id of its newest event, and are no repetition of that.
          const news = event !== null && (event.kind === "notice" || estimate(event));
          if (raw.ownId && raw.id !== null && !news && seen(raw.id, cursor)) continue;
          moved = true;
          // A reader that was detached for being slow is told so by `error` without `done`: its own affair, and no
          // part of the stream. So an error counts once something follows.
          if (held !== null) {
            cursor = held.id ?? cursor;
            yield held;
            held = null;
          }
          if (event === null) {
            if (!stale) cursor = raw.id ?? cursor;
            options.onUnknown?.(raw.event, raw.id);
            continue;
          }
          if (event.kind === "error") {
            held = event;
            continue;
          }
          if (event.kind === "reset") {
            // What we have cannot be continued. If this connection breaks before more comes: all anew, in one piece.
            cursor = null;
            snapshot = stale = true;
            yield { ...event, id: null };
            continue;
          }
          cursor = event.id ?? cursor;
          if (raw.ownId) snapshot = false;
          yield event;
          if (event.kind === "done") return;
        }
        if (!stale) cursor = decoder.lastEventId ?? cursor; // an id without data moves the cursor, too
      }
      decoder.close();
      failure = new ConnectionError(held === null ? "the connection ended" : held.data.message);
    } catch (error) {
      if (signal?.aborted) return;
      failure = attempt.why(error);
      if (failure instanceof NotResumable && !snapshot) {
        // What we have cannot be continued: all of it anew, in one piece.
        snapshot = true;
        yield { kind: "reset", data: { reason: failure.code }, id: null, at: platform.now() };
        cursor = null;
        continue;
      }
      if (!(failure instanceof TokenwireError) || !failure.retryable) throw failure;
    } finally {
      retry = decoder.retry ?? retry; // one that no event came with, too
      attempt.close();
    }
    // A line that delivers and breaks is come back to soon; one that fails outright is left alone longer and longer.
    if (moved || attempt.healthy()) backoff.reset();
    if (backoff.failures >= tries) {
      const problem = failure instanceof Error ? failure.message : String(failure);
      throw new ConnectionError(`gave up after ${tries} tries; the last one: ${problem}`, failure);
    }
    const floor = failure instanceof HttpError ? (failure.retryAfter ?? retry) : retry;
    const milliseconds = backoff.next(floor);
    tell({ state: "waiting", milliseconds, because: (failure as Error).message });
    await pause(platform, milliseconds, attempt.slept, signal);
  }
}

function understood(raw: SseEvent, at: number): Read | null {
  try {
    const event = parseEvent(raw.event, raw.data);
    return event === null ? null : { ...event, id: raw.id, at };
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    throw new ProtocolError("bad_event", `an event that cannot be read (${problem}): ${raw.data.slice(0, 100)}`);
  }
}

function address(url: string, cursor: string | null, snapshot: boolean): string {
  return snapshot && cursor === null ? `${url}${url.includes("?") ? "&" : "?"}from=snapshot` : url;
}

function headers(options: FollowOptions, cursor: string | null, snapshot: boolean): HeadersInit {
  const fields: Record<string, string> = { accept: "text/event-stream", ...options.headers };
  if (options.lease !== undefined) fields["x-tokenwire-lease"] = String(options.lease);
  if (cursor !== null && !snapshot) fields["last-event-id"] = cursor;
  return fields;
}

/** One connection, watched: by its own deadlines, and by what happens to the page. */
class Attempt {
  /** The page went to sleep: nothing is tried before it wakes. */
  slept = false;

  readonly #platform: Platform;
  readonly #abort = new AbortController();
  readonly #undo: (() => void)[] = [];
  #cause: ConnectionError | null = null;
  #stopTimer: () => void = () => undefined;
  #opened: number | null = null;
  #heard = 0;
  #granted: Headers | null = null;
  #renewing: Renewing | null = null;

  constructor(platform: Platform, signal: AbortSignal | undefined) {
    this.#platform = platform;
    const left = (): void => this.#abort.abort();
    signal?.addEventListener("abort", left);
    this.#undo.push(
      () => signal?.removeEventListener("abort", left),
      platform.moods((mood) => this.#mood(mood)),
    );
  }

  /** Null for 204. */
  async open(url: string, headers: HeadersInit): Promise<ReadableStreamDefaultReader<Uint8Array> | null> {
    this.#stopTimer = this.#platform.after(OPENING, () => this.#give(`no answer within ${OPENING / 1000} s`));
    const init: RequestInit = { headers, signal: this.#abort.signal, cache: "no-store" };
    const response = await this.#platform.fetch(url, init);
    this.#stopTimer();
    if (response.status === 204) return null;
    if (!response.ok) throw await refused(response);
    const type = response.headers.get("content-type") ?? "";
    // Chromium passes a head that was cut as if it were whole: then there is no type at all.
    if (type === "") throw new ConnectionError("the answer's head is not whole");
    if (!type.startsWith("text/event-stream") || response.body === null) {
      throw new ProtocolError("not_a_stream", `expected text/event-stream, got ${type}`);
    }
    this.#granted = response.headers;
    this.#opened = this.#heard = this.#platform.now();
    this.#watch(SILENCE);
    return response.body.getReader();
  }

  /** Keep the lease that the answer grants, if it does. */
  renew(url: string, given: Record<string, string>): void {
    if (this.#granted === null) return;
    const lapsed = (): void => this.#give("the relay has let go of this reader: its lease lapsed");
    this.#renewing = Renewing.of(this.#platform, url, given, this.#granted, lapsed);
  }

  /** Null at the end. */
  async read(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Uint8Array | null> {
    const { done, value } = await reader.read();
    this.#heard = this.#platform.now();
    return done ? null : value;
  }

  /** What an error of this connection really means. */
  why(error: unknown): unknown {
    if (this.#cause !== null) return this.#cause;
    if (error instanceof TokenwireError) return error;
    return new ConnectionError(error instanceof Error ? error.message : String(error), error);
  }

  healthy(): boolean {
    return this.#opened !== null && this.#heard - this.#opened >= Backoff.HEALTHY;
  }

  close(): void {
    this.#stopTimer();
    this.#renewing?.stop();
    for (const undo of this.#undo) undo();
    this.#abort.abort();
  }

  /** One timer for the whole connection, not one for each token. */
  #watch(milliseconds: number): void {
    this.#stopTimer = this.#platform.after(milliseconds, () => {
      const left = SILENCE - (this.#platform.now() - this.#heard);
      if (left > 0) this.#watch(left);
      else this.#give(`nothing came for ${SILENCE / 1000} s, not even a heartbeat`);
    });
  }

  #mood(mood: Mood): void {
    if (mood !== "awake") {
      this.slept = true;
      this.#give("the page went to sleep");
      return;
    }
    this.#renewing?.now();
    if (this.#opened !== null && this.#platform.now() - this.#heard > STALE) {
      this.#give("the connection fell silent while the page slept");
    }
  }

  #give(problem: string): void {
    this.#cause ??= new ConnectionError(problem);
    this.#abort.abort();
  }
}

/** Until the time is over or the page wakes; if it sleeps, until it wakes. */
function pause(platform: Platform, milliseconds: number, asleep: boolean, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const undo: (() => void)[] = [];
    const over = (): void => {
      for (const each of undo) each();
      resolve();
    };
    if (!asleep) undo.push(platform.after(milliseconds, over));
    undo.push(platform.moods((mood) => mood === "awake" && over()));
    signal?.addEventListener("abort", over);
    undo.push(() => signal?.removeEventListener("abort", over));
  });
}

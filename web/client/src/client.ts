import { Answer, type Verdict } from "./answer.js";
import { Backoff } from "./backoff.js";
import { ConnectionError, HttpError, IntegrityError, StreamFailed, TokenwireError, refused } from "./errors.js";
import type { Read } from "./events.js";
import { type EventSourceOptions, followByEventSource } from "./event-source.js";
import { type FollowOptions, follow } from "./follow.js";
import { cancels } from "./lease.js";
import { type Platform, platform as surroundings } from "./platform.js";

export interface ClientOptions {
  /** Where the relay is; missing: where the page came from. */
  baseUrl?: string;
  /** Sent with every request: an Authorization, for instance. */
  headers?: Record<string, string>;
  platform?: Partial<Platform>;
}

export interface StartRequest {
  /** The dialect of `request`: openai.chat, anthropic … */
  dialect: string;
  request: Record<string, unknown>;
  session?: string;
  /** What becomes of the answer when nobody reads it: cancel, linger=SECONDS or finish. */
  on_disconnect?: string;
  /** Seconds that the relay waits for the first reader, instead of as long as it lingers. */
  lease?: number;
  metadata?: Record<string, unknown>;
}

export interface Started {
  id: string;
  state: string;
  events: string;
}

export interface Described {
  id: string;
  state: string;
  model: string;
  upstream: string | null;
  ended: number | null;
  last_id: string;
  [more: string]: unknown;
}

export interface Model {
  id: string;
  owned_by: string;
  /** What requests for it may be written in, the provider's own first; empty where the relay cannot tell yet. */
  dialects?: string[];
}

export interface Ticket {
  ticket: string;
  url: string;
  expires: number;
}

/** A request that can be repeated without harm is tried so often. */
const TRIES = 3;
/** Streams of a page that are followed at once are few. */
const MOST_REMEMBERED = 100;

/** One relay. */
export class Client {
  readonly platform: Platform;
  readonly #base: string;
  readonly #headers: Record<string, string>;
  /** Streams started here whose reader's leaving stops them: see FollowOptions.onDisconnect. */
  readonly #cancelling = new Set<string>();

  constructor(options: ClientOptions = {}) {
    this.#base = (options.baseUrl ?? "").replace(/\/+$/, "");
    this.#headers = options.headers ?? {};
    this.platform = { ...surroundings, ...options.platform };
  }

  /** What this caller may use. */
  async models(signal?: AbortSignal): Promise<Model[]> {
    const listing = (await this.#json("GET", "/v1/models", undefined, { signal })) as { data: Model[] };
    return listing.data;
  }

  /**
   * Start a stream; `follow` reads it. A lost answer is asked for again under the same key, so that the model never
   * runs twice.
   */
  async start(request: StartRequest, options: { key?: string; signal?: AbortSignal } = {}): Promise<Started> {
    const headers = { "idempotency-key": options.key ?? randomKey() };
    const started = (await this.#json("POST", "/v1/streams", request, { headers, signal: options.signal, tries: TRIES })) as Started;
    if (cancels(request.on_disconnect)) {
      const oldest = this.#cancelling.values().next();
      if (this.#cancelling.size >= MOST_REMEMBERED && !oldest.done) this.#cancelling.delete(oldest.value);
      this.#cancelling.add(started.id);
    }
    return started;
  }

  /** The stream's events until `done`, through lost connections: see `follow`. */
  follow(id: string, options: FollowOptions = {}): AsyncGenerator<Read, void, undefined> {
    const headers = { ...this.#headers, ...options.headers };
    const told = options.onDisconnect === undefined && this.#cancelling.has(id) ? { onDisconnect: "cancel" } : {};
    return follow(this.events(id), this.platform, { ...options, ...told, headers });
  }

  /** The same by the browser's own EventSource. */
  followByEventSource(id: string, options: EventSourceOptions = {}): AsyncGenerator<Read, void, undefined> {
    return followByEventSource(this, id, this.platform, options);
  }

  /**
   * The whole answer of a stream, verified. Throws StreamFailed unless it completed, IntegrityError if what came is not
   * what the relay vouches for, and what `follow` throws.
   */
  async read(id: string, options: FollowOptions = {}): Promise<Answer> {
    const answer = new Answer();
    for await (const event of this.follow(id, { ...options, onUnknown: (name, at) => answer.skip(name, at) })) {
      answer.take(event);
    }
    if (answer.done === null) throw new ConnectionError("the stream ended without saying how");
    const { state } = answer.done;
    if (state !== "completed") {
      const { code, message, retryable, upstream_status } = answer.error ?? {
        code: state,
        message: `the stream ended ${state}`,
        retryable: false,
      };
      throw new StreamFailed(state, code, message, retryable, upstream_status ?? null);
    }
    if ((await this.verify(answer)) === "mismatch") {
      throw new IntegrityError("the text is not the one that the relay vouches for");
    }
    return answer;
  }

  /** Whether an answer that is done is what the relay vouches for. */
  async verify(answer: Answer): Promise<Verdict> {
    return answer.done === null ? "unverifiable" : answer.verify(answer.done, this.platform);
  }

  /** Stop a stream, from anywhere, as often as you like. `keepalive` outlives the page. */
  async cancel(id: string, options: { keepalive?: boolean } = {}): Promise<Described> {
    const path = `/v1/streams/${encodeURIComponent(id)}/cancel`;
    return (await this.#json("POST", path, undefined, { ...options, tries: TRIES })) as Described;
  }

  async look(id: string): Promise<Described> {
    return (await this.#json("GET", `/v1/streams/${encodeURIComponent(id)}`, undefined, { tries: TRIES })) as Described;
  }

  /** A short-lived right to follow one stream by its address alone. */
  async ticket(id: string): Promise<Ticket> {
    return (await this.#json("POST", `/v1/streams/${encodeURIComponent(id)}/ticket`, undefined, {})) as Ticket;
  }

  /** A vendor's own route, not streamed: the JSON that it answers. Never tried twice: nothing says it did not run. */
  async complete(
    path: string,
    body: Record<string, unknown>,
    options: { headers?: Record<string, string>; signal?: AbortSignal } = {},
  ): Promise<unknown> {
    return this.#json("POST", path, body, options);
  }

  /** Where the stream's events are. */
  events(id: string): string {
    return this.address(`/v1/streams/${encodeURIComponent(id)}/events`);
  }

  address(path: string): string {
    return path.startsWith("/") ? this.#base + path : path;
  }

  /** For routes of the plainest form: the answer as it came, or the relay's refusal as an error. */
  async post(
    path: string,
    body: unknown,
    options: { headers?: Record<string, string>; signal?: AbortSignal } = {},
  ): Promise<Response> {
    return this.#request("POST", path, body, options);
  }

  async #json(method: string, path: string, body: unknown, options: RequestOptions): Promise<unknown> {
    const response = await this.#request(method, path, body, options);
    try {
      return await response.json();
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new HttpError(response.status, "not_json", `${method} ${path} was not answered with JSON`);
    }
  }

  async #request(method: string, path: string, body: unknown, options: RequestOptions): Promise<Response> {
    const init: RequestInit = { method, headers: { ...this.#headers, ...options.headers }, cache: "no-store" };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
      init.headers = { ...init.headers, "content-type": "application/json" };
    }
    if (options.signal) init.signal = options.signal;
    if (options.keepalive) init.keepalive = true;
    const backoff = new Backoff(this.platform.random);
    for (;;) {
      let failure: TokenwireError;
      try {
        const response = await this.platform.fetch(this.address(path), init);
        if (response.ok) return response;
        failure = await refused(response);
      } catch (error) {
        if (options.signal?.aborted) throw error;
        failure = new ConnectionError(error instanceof Error ? error.message : String(error), error);
      }
      if (!failure.retryable || backoff.failures + 1 >= (options.tries ?? 1)) throw failure;
      const floor = failure instanceof HttpError ? (failure.retryAfter ?? 0) : 0;
      await new Promise<void>((resolve) => void this.platform.after(backoff.next(floor), resolve));
    }
  }
}

interface RequestOptions {
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
  keepalive?: boolean;
  tries?: number;
}

/** A fresh Idempotency-Key: 128 random bits. */
export function randomKey(): string {
  // Not randomUUID, which only secure contexts have.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

import { HttpError, ProtocolError } from "./errors.js";
import { KINDS, type Read, parseEvent } from "./events.js";
import type { Client } from "./client.js";
import { seen } from "./ids.js";
import type { Platform } from "./platform.js";

export interface EventSourceOptions {
  after?: string | null;
  signal?: AbortSignal;
  /** So many tickets that end in a refused connection, one after another, are the end. */
  tries?: number;
}

/**
 * The same events by the browser's own EventSource, which sends no headers: a ticket in the address says who asks.
 *
 * The browser reconnects by itself, with the last id. What it does not survive (an expired ticket, a 5xx: it closes for
 * good) gets a new ticket, and goes on where it was. Prefer `Client.follow`, which knows why a connection ended.
 */
export async function* followByEventSource(
  client: Client,
  id: string,
  platform: Platform,
  options: EventSourceOptions = {},
): AsyncGenerator<Read, void, undefined> {
  if (platform.eventSource === null) throw new ProtocolError("no_event_source", "there is no EventSource here");
  let cursor = options.after ?? null;
  // After a reset, the browser's last id is one from before it, and no place to go on from, until another comes.
  let stale: string | null = null;
  let refusals = 0;
  while (!options.signal?.aborted) {
    const source = platform.eventSource(withCursor(await address(client, id), cursor));
    const queue = new Queue<Read>();
    const left = (): void => queue.end();
    options.signal?.addEventListener("abort", left);
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        // `error` is also what EventSource says of its own connection: that one has no data.
        if (event instanceof MessageEvent) queue.push(() => read(kind, event, platform.now()));
      });
    }
    source.addEventListener("error", () => {
      if (source.readyState === source.CLOSED) queue.end();
    });
    try {
      for await (const event of queue) {
        refusals = 0;
        if (event.kind === "reset") {
          stale = event.id;
          cursor = null;
          yield { ...event, id: null };
          continue;
        }
        if (stale !== null && event.id === stale) {
          yield { ...event, id: null };
          continue;
        }
        stale = null;
        if (event.kind !== "started" && event.id !== null && event.id !== cursor && seen(event.id, cursor)) continue;
        cursor = event.id ?? cursor;
        yield event;
        if (event.kind === "done") return;
      }
    } finally {
      source.close();
      options.signal?.removeEventListener("abort", left);
    }
    if (++refusals > (options.tries ?? 3)) {
      const described = await client.look(id); // throws what the relay has against us
      if (described.ended !== null) return; // 204: it was over
      throw new ProtocolError("event_source_closed", "the browser closed the EventSource, and does not say why");
    }
  }
}

function read(kind: string, event: MessageEvent<unknown>, at: number): Read {
  const parsed = parseEvent(kind, String(event.data));
  if (parsed === null) throw new ProtocolError("bad_event", `an event of the kind ${kind}`);
  return { ...parsed, id: event.lastEventId || null, at };
}

/** With a ticket; where the relay has none (no keys: none are needed), the plain address. */
async function address(client: Client, id: string): Promise<string> {
  try {
    return client.address((await client.ticket(id)).url);
  } catch (error) {
    if (error instanceof HttpError && (error.code === "no_such_route" || error.status === 405)) return client.events(id);
    throw error;
  }
}

function withCursor(url: string, cursor: string | null): string {
  return cursor === null ? url : `${url}${url.includes("?") ? "&" : "?"}after=${encodeURIComponent(cursor)}`;
}

/** From callbacks to a loop. */
class Queue<T> {
  #items: (() => T)[] = [];
  #ended = false;
  #wake: () => void = () => undefined;

  push(item: () => T): void {
    this.#items.push(item);
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      const items = this.#items;
      this.#items = [];
      for (const item of items) yield item();
      if (this.#items.length > 0) continue;
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

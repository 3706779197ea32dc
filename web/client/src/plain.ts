import type { Client } from "./client.js";
import { ConnectionError, ProtocolError, isObject } from "./errors.js";
import type { Platform } from "./platform.js";
import { SseDecoder } from "./sse.js";

/** The end of the plainest form. */
const DONE = "[DONE]";

/**
 * The plainest form: a prompt in, pieces of text out (`POST /api/chat`). Leaving the loop cancels. No resume: for that,
 * `askByEventSource` or streams.
 */
export async function* ask(
  client: Client,
  prompt: string,
  options: { model?: string; signal?: AbortSignal } = {},
): AsyncGenerator<string, void, undefined> {
  const abort = new AbortController();
  const left = (): void => abort.abort();
  options.signal?.addEventListener("abort", left);
  try {
    const body = { prompt, ...(options.model === undefined ? {} : { model: options.model }) };
    // This reader never comes back: nothing need linger for it.
    const headers = { "x-tokenwire-on-disconnect": "cancel" };
    const response = await client.post("/api/chat", body, { headers, signal: abort.signal });
    const reader = response.body?.getReader();
    const decoder = new SseDecoder();
    for (let read = await reader?.read(); read && !read.done; read = await reader?.read()) {
      for (const event of decoder.feed(read.value)) {
        if (event.data === DONE) return;
        yield textOf(event.data);
      }
    }
    throw new ConnectionError("the answer was cut");
  } finally {
    options.signal?.removeEventListener("abort", left);
    abort.abort();
  }
}

/**
 * The same by the browser's EventSource (`GET /api/chat?prompt=…&run=…`): it reconnects by itself, and *run* makes it
 * attach to the answer that it began instead of asking the model again. Calls back for each piece; the promise is kept at
 * the end.
 */
export function askByEventSource(
  client: Client,
  platform: Platform,
  prompt: string,
  options: { run: string; model?: string; onText: (text: string) => void; signal?: AbortSignal },
): Promise<void> {
  const query = new URLSearchParams({ prompt, run: options.run });
  if (options.model !== undefined) query.set("model", options.model);
  return new Promise((resolve, reject) => {
    if (platform.eventSource === null) throw new ProtocolError("no_event_source", "there is no EventSource here");
    const source = platform.eventSource(client.address(`/api/chat?${query}`));
    const end = (settle: () => void): void => {
      source.close();
      options.signal?.removeEventListener("abort", left);
      settle();
    };
    const left = (): void => end(resolve);
    options.signal?.addEventListener("abort", left);
    source.addEventListener("message", (event: MessageEvent<string>) => {
      try {
        if (event.data === DONE) end(resolve);
        else options.onText(textOf(event.data));
      } catch (error) {
        end(() => reject(error as Error));
      }
    });
    source.addEventListener("error", () => {
      if (source.readyState === source.CLOSED) end(() => reject(new ConnectionError("the browser closed the EventSource")));
    });
  });
}

function textOf(data: string): string {
  const value: unknown = JSON.parse(data);
  if (isObject(value) && typeof value["text"] === "string") return value["text"];
  const error = isObject(value) && isObject(value["error"]) ? value["error"] : {};
  throw new ProtocolError(String(error["code"] ?? "bad_event"), String(error["message"] ?? `unexpected: ${data.slice(0, 100)}`));
}

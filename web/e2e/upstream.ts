// A provider that says exactly what a test wants: what the simulator has no model for.
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** Deltas of a chat completion chunk, each in an event of its own, and a pause in milliseconds between them. */
export interface Script {
  deltas: Record<string, unknown>[];
  pause: number;
  finish: string;
  /** The answer begins when this is there. */
  begins?: Promise<void>;
}

export interface Asked {
  messages: { role: string; content: unknown }[];
}

export class ScriptedUpstream {
  script: Script = { deltas: [], pause: 0, finish: "stop" };
  /** For the next requests, one each; then `script`. */
  readonly next: Script[] = [];
  /** What was asked, in order. */
  readonly asked: Asked[] = [];
  /** Closed by the other side before the end, so often. */
  left = 0;
  readonly #server: Server = createServer((request, response) => void this.#answer(request, response));

  listen(): Promise<string> {
    return new Promise((resolve) => {
      this.#server.listen(0, "127.0.0.1", () => {
        resolve(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`);
      });
    });
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => void this.#server.close(() => resolve()));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request) body += String(chunk);
    this.asked.push(JSON.parse(body) as Asked);
    const { deltas, pause, finish, begins } = this.next.shift() ?? this.script;
    let gone = false;
    response.on("close", () => {
      if (!response.writableEnded) this.left += 1;
      gone = true;
    });
    await begins;
    response.writeHead(200, { "content-type": "text/event-stream" });
    const send = (delta: unknown, reason: string | null): void => {
      const choices = [{ index: 0, delta, finish_reason: reason }];
      response.write(`data: ${JSON.stringify({ id: "c1", object: "chat.completion.chunk", created: 1, model: "m", choices })}\n\n`);
    };
    send({ role: "assistant", content: "" }, null);
    for (const delta of deltas) {
      if (gone) return;
      send(delta, null);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
    send({}, finish);
    response.end("data: [DONE]\n\n");
  }
}

// A line that breaks: TCP between the page and the relay, cut after so many bytes of an event stream.
import { type AddressInfo, type Server, type Socket, connect, createServer } from "node:net";

export class BreakingLine {
  /** Bytes after which answers that are event streams are cut, one for each; then none is cut. */
  readonly cuts: number[];
  streams = 0;
  /** Of the requests that came, in order: their first lines and their `Last-Event-ID`. */
  readonly asked: { line: string; after: string | undefined }[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(target: string, cuts: number[]) {
    this.cuts = cuts;
    const { hostname, port } = new URL(target);
    this.#server = createServer((near) => {
      const far = connect(Number(port), hostname);
      this.#sockets.add(near).add(far);
      let left: number | null = null;
      near.pipe(far);
      near.on("data", (chunk: Buffer) => {
        const head = chunk.toString("latin1");
        const line = /^[A-Z]+ \S+/.exec(head)?.[0];
        if (line) this.asked.push({ line, after: /^last-event-id: *(.*?)\r$/im.exec(head)?.[1] });
      });
      far.on("data", (chunk: Buffer) => {
        if (left === null && chunk.includes("content-type: text/event-stream")) {
          this.streams += 1;
          left = this.cuts.shift() ?? Number.POSITIVE_INFINITY;
        }
        if (left !== null && chunk.length >= left) {
          near.end(chunk.subarray(0, left));
          near.destroySoon();
          far.destroy();
          return;
        }
        if (left !== null) left -= chunk.length;
        near.write(chunk);
      });
      for (const [socket, other] of [[near, far], [far, near]] as const) {
        socket.on("error", () => other.destroy());
        socket.on("close", () => {
          this.#sockets.delete(socket);
          other.end();
        });
      }
    });
  }

  listen(): Promise<string> {
    return new Promise((resolve) => {
      this.#server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`));
    });
  }

  /** Cut what goes through now. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): Promise<void> {
    this.cut();
    return new Promise((resolve) => void this.#server.close(() => resolve()));
  }
}

/** A proxy that hides when a client leaves: it goes on reading answers for nobody. */
export class HidingLine {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(target: string) {
    const { hostname, port } = new URL(target);
    this.#server = createServer({ allowHalfOpen: true }, (near) => {
      const far = connect(Number(port), hostname);
      for (const socket of [near, far]) this.#sockets.add(socket.on("error", () => undefined));
      near.on("data", (chunk: Buffer) => void far.write(chunk));
      far.on("data", (chunk: Buffer) => void (near.writable && near.write(chunk)));
      far.on("close", () => near.destroy());
    });
  }

  listen(): Promise<string> {
    return new Promise((resolve) => {
      this.#server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`));
    });
  }

  close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    return new Promise((resolve) => void this.#server.close(() => resolve()));
  }
}

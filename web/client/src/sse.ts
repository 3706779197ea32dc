import { ProtocolError } from "./errors.js";

/** One dispatched event (WHATWG HTML section 9.2.6). */
export interface SseEvent {
  /** The event's type; "message" where the stream names none. */
  event: string;
  data: string;
  /** The last event id in force; null until one was set. */
  id: string | null;
  /** Milliseconds, on the first event that comes with or after a `retry` field. */
  retry: number | null;
  /** Whether this event's own block had an `id` line. */
  ownId: boolean;
}

const LF = 10;
const CR = 13;
const BOM = [0xef, 0xbb, 0xbf] as const;
/** As in the relay: no event of ours is larger. */
export const DEFAULT_LIMIT = 16 * 1024 * 1024;

/**
 * Bytes of text/event-stream to events, by the letter of the standard, in linear time and bounded memory.
 *
 * Lines are found in the bytes and decoded one by one: a line end is never part of a UTF-8 sequence, so that gives what
 * decoding the whole stream would.
 */
export class SseDecoder {
  /** What a reconnecting client sends: the last id of a finished block; null until one was set. */
  lastEventId: string | null = null;

  readonly #limit: number;
  // ignoreBOM: the one BOM that the standard drops is the stream's first character, which is dropped in #start.
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  #begun = false;
  #head: number[] = [];
  #afterCr = false;
  #parts: Uint8Array[] = []; // of a line whose end has not come
  #pending = 0;
  #block = 0; // bytes of the block's finished lines, each line end counted as one
  #failed = false;

  #event = "";
  #data: string | null = null;
  #id: string | null = null;
  #ownId = false;
  #retry: number | null = null;

  /** @param limit largest block in bytes: its lines with one byte for each line end. */
  constructor(limit: number = DEFAULT_LIMIT) {
    this.#limit = limit;
  }

  /** What a `retry` field has said that no event has carried yet, milliseconds. */
  get retry(): number | null {
    return this.#retry;
  }

  /** The events that end in these bytes. Throws ProtocolError once a block is above the limit, after the events before it. */
  feed(chunk: Uint8Array): SseEvent[] {
    this.#check();
    const events: SseEvent[] = [];
    let bytes = this.#begun ? chunk : this.#start(chunk);
    if (bytes.length === 0) return events;
    if (this.#afterCr && bytes[0] === LF) bytes = bytes.subarray(1);
    if (bytes.length === 0) {
      this.#afterCr = false;
      return events;
    }
    this.#afterCr = bytes[bytes.length - 1] === CR;
    let from = 0;
    let cr = bytes.indexOf(CR);
    let lf = bytes.indexOf(LF);
    while (cr !== -1 || lf !== -1) {
      const end = cr === -1 || (lf !== -1 && lf < cr) ? lf : cr;
      if (!this.#line(bytes.subarray(from, end), events)) return events;
      from = end + (end === cr && lf === cr + 1 ? 2 : 1);
      if (lf !== -1 && lf < from) lf = bytes.indexOf(LF, from);
      if (cr !== -1 && cr < from) cr = bytes.indexOf(CR, from);
    }
    if (from < bytes.length) {
      // A copy: the caller's buffer may be used again.
      this.#parts.push(bytes.slice(from));
      this.#pending += bytes.length - from;
      if (this.#block + this.#pending >= this.#limit + 1) this.#failed = true;
    }
    return events;
  }

  /** The end of the bytes: an unfinished event is discarded. Throws if the limit was passed. */
  close(): void {
    this.#check();
    this.#parts = [];
    this.#pending = 0;
  }

  #check(): void {
    if (this.#failed) throw new ProtocolError("event_too_large", `an event is larger than ${this.#limit} bytes`);
  }

  /** Drops the BOM, which may come in pieces. */
  #start(chunk: Uint8Array): Uint8Array {
    if (this.#head.length === 0 && chunk.length > 0 && chunk[0] !== BOM[0]) {
      this.#begun = true;
      return chunk;
    }
    const all = Uint8Array.of(...this.#head, ...chunk.subarray(0, BOM.length));
    const rest = chunk.subarray(Math.min(chunk.length, BOM.length));
    const known = Math.min(all.length, BOM.length);
    const matches = BOM.slice(0, known).every((byte, i) => all[i] === byte);
    if (matches && known < BOM.length) {
      this.#head = [...all];
      return new Uint8Array();
    }
    this.#begun = true;
    this.#head = [];
    const first = matches ? all.subarray(BOM.length) : all;
    const joined = new Uint8Array(first.length + rest.length);
    joined.set(first);
    joined.set(rest, first.length);
    return joined;
  }

  /** False if the block became too large. */
  #line(last: Uint8Array, events: SseEvent[]): boolean {
    const size = this.#pending + last.length;
    if (size === 0) {
      this.#dispatch(events);
      return true;
    }
    this.#block += size + 1;
    if (this.#block > this.#limit) {
      this.#failed = true;
      return false;
    }
    let line: string;
    if (this.#pending === 0) {
      line = this.#utf8.decode(last);
    } else {
      const whole = new Uint8Array(size);
      let at = 0;
      for (const part of this.#parts) {
        whole.set(part, at);
        at += part.length;
      }
      whole.set(last, at);
      this.#parts = [];
      this.#pending = 0;
      line = this.#utf8.decode(whole);
    }
    this.#field(line);
    return true;
  }

  #field(line: string): void {
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(line.charCodeAt(colon + 1) === 32 ? colon + 2 : colon + 1);
    if (name === "data") {
      this.#data = this.#data === null ? value : `${this.#data}\n${value}`;
    } else if (name === "event") {
      this.#event = value;
    } else if (name === "id") {
      if (!value.includes("\0")) {
        this.#id = value;
        this.#ownId = true;
      }
    } else if (name === "retry" && /^[0-9]{1,15}$/.test(value)) {
      this.#retry = Number(value);
    }
  }

  #dispatch(events: SseEvent[]): void {
    if (this.#ownId) this.lastEventId = this.#id;
    if (this.#data !== null) {
      events.push({
        event: this.#event || "message",
        data: this.#data,
        id: this.lastEventId,
        retry: this.#retry,
        ownId: this.#ownId,
      });
      this.#retry = null;
    }
    this.#data = null;
    this.#event = "";
    this.#ownId = false;
    this.#block = 0;
  }
}

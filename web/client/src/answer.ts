import type { Done, Failure, NativeEvent, Read, SnapshotCall, Usage } from "./events.js";
import { counted, standsFor } from "./events.js";
import type { Platform } from "./platform.js";

export interface ToolCall {
  block: number;
  id: string;
  name: string;
  /** JSON text, whole only if ended. */
  arguments: string;
  ended: boolean;
  result: string | null;
}

/** What can be written to a storage and read back. */
export interface SavedAnswer {
  stream: string | null;
  model: string | null;
  cursor: string | null;
  text: string;
  reasoning: string;
  refusal: string;
  calls: ToolCall[];
  usage: Usage | null;
  events: number;
  /** Missing in what older versions saved. */
  partial?: boolean;
}

/**
 * - `verified`: text and count of events are what the relay vouches for
 * - `mismatch`: they are not: something was lost, doubled or changed on the way
 * - `partial`: what came is not all of it, and the relay said so: its beginning is no longer held
 * - `unverifiable`: no SHA-256 here (browsers have it in secure contexts only)
 */
export type Verdict = "verified" | "mismatch" | "partial" | "unverifiable";

/** The first choice of a stream, folded from its events: what a reader has so far. */
export class Answer {
  stream: string | null = null;
  model: string | null = null;
  /** Where to go on. */
  cursor: string | null = null;
  text = "";
  reasoning = "";
  refusal = "";
  calls: ToolCall[] = [];
  usage: Usage | null = null;
  error: Failure | null = null;
  done: Done | null = null;
  events = 0;
  /** What came begins somewhere within the answer: the relay no longer has what was before. */
  partial = false;

  static from(saved: SavedAnswer): Answer {
    return Object.assign(new Answer(), structuredClone(saved));
  }

  save(): SavedAnswer {
    const { stream, model, cursor, text, reasoning, refusal, calls, usage, events, partial } = this;
    return { stream, model, cursor, text, reasoning, refusal, calls, usage, events, partial };
  }

  /** Take an event in; *unknown* ones count, too. */
  take(event: Read): void {
    this.cursor = event.id ?? this.cursor;
    this.apply(event);
  }

  /** An event of a kind that this version does not know. */
  skip(name: string, id: string | null): void {
    this.cursor = id ?? this.cursor;
    if (counted(name)) this.events += 1;
  }

  private apply(event: NativeEvent): void {
    const ours = event.data.lane === undefined;
    if (ours) this.events += standsFor(event);
    if (!ours || event.data.choice) return;
    switch (event.kind) {
      case "started":
        this.stream = event.data.stream;
        this.model = event.data.model;
        this.partial = false; // the first event of all
        break;
      case "text":
        this.text += event.data.t;
        break;
      case "reasoning":
        this.reasoning += event.data.t;
        break;
      case "refusal":
        this.refusal += event.data.t;
        break;
      case "tool_call":
        this.calls.push({ ...NO_CALL, block: event.data.block ?? 0, id: event.data.id, name: event.data.name });
        break;
      case "tool_args": {
        const call = this.call(event.data.block);
        if (call) call.arguments += event.data.json;
        break;
      }
      case "tool_end": {
        const call = this.call(event.data.block);
        if (call) call.ended = true;
        break;
      }
      case "tool_result": {
        const call = this.call(event.data.block);
        if (call) call.result = event.data.content;
        break;
      }
      case "usage":
        this.usage = merged(this.usage, event.data);
        break;
      case "error":
        this.error = event.data;
        break;
      case "reset":
        this.clear();
        this.cursor = null;
        this.partial = true; // unless a beginning, or a snapshot, follows
        break;
      case "snapshot": {
        const { text, reasoning, refusal, tool_calls, usage, events } = event.data;
        this.clear();
        this.text = text;
        this.reasoning = reasoning ?? "";
        this.refusal = refusal ?? "";
        this.calls = (tool_calls ?? []).map(fromSnapshot);
        this.usage = usage ?? null;
        this.events = events;
        this.partial = false;
        break;
      }
      case "done":
        this.done = event.data;
        this.usage = event.data.usage ? merged(this.usage, event.data.usage) : this.usage;
        break;
    }
  }

  /** The newest call of that block: fragments belong to it. */
  call(block = 0): ToolCall | undefined {
    return this.calls.findLast((call) => call.block === block);
  }

  private clear(): void {
    this.text = this.reasoning = this.refusal = "";
    this.calls = [];
    this.usage = null;
    this.error = null;
    this.events = 0;
  }

  /** Compare with what `done` vouches for. */
  async verify(done: Done, platform: Pick<Platform, "sha256">): Promise<Verdict> {
    if (this.partial) return "partial";
    if (this.events !== done.events) return "mismatch";
    if (platform.sha256 === null) return "unverifiable";
    const digest = new Uint8Array(await platform.sha256(new TextEncoder().encode(this.text)));
    const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return hex === done.text_sha256 ? "verified" : "mismatch";
  }
}

const NO_CALL: ToolCall = { block: 0, id: "", name: "", arguments: "", ended: false, result: null };

/** What the newer usage does not tell stays, but for whether it was an estimate. */
function merged(old: Usage | null, newer: Usage): Usage {
  const { estimated, ...told } = old ?? {};
  return { ...told, ...newer };
}

function fromSnapshot(call: SnapshotCall): ToolCall {
  return { ...NO_CALL, ...call, block: call.block ?? 0 };
}

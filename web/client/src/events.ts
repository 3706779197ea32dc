import { isObject } from "./errors.js";

/** Where an event stands; a member that is missing is 0, or none. */
export interface Position {
  choice?: number;
  block?: number;
  lane?: string;
}

/** Tokens so far. A member that is missing is not known, which is not 0. */
export interface Usage {
  input?: number;
  output?: number;
  cached_input?: number;
  cache_write?: number;
  reasoning?: number;
  cost_usd?: number;
  estimated?: boolean;
}

export interface SnapshotCall {
  block?: number;
  id: string;
  name: string;
  arguments: string;
  ended: boolean;
  /** What the tool gave, if it ran. */
  result?: string;
  error?: true;
}

export interface Snapshot {
  text: string;
  reasoning?: string;
  refusal?: string;
  tool_calls?: SnapshotCall[];
  usage?: Usage;
  /** Events of the full projection that this stands for. */
  events: number;
}

export type State = "completed" | "failed" | "cancelled" | "orphaned" | "expired";

export interface Done {
  state: State;
  reason?: string;
  native_reason?: string;
  usage?: Usage;
  timing?: { ttft_ms?: number; e2e_ms?: number };
  /** Events of the full projection before this one. */
  events: number;
  /** SHA-256 of all text of choice 0. */
  text_sha256: string;
}

export interface Failure {
  code: string;
  message: string;
  retryable: boolean;
  upstream_status?: number;
}

/** Of what a reader who was behind is told at once. */
export interface Run {
  /** Events of the full projection that this one stands for; missing: 1. */
  events?: number;
}

/** The kinds of the native dialect (INTERFACES section 3), and what their data holds. */
export interface Kinds {
  started: Position & { stream: string; model: string; session?: string; created: number };
  text: Position & Run & { t: string };
  reasoning: Position & Run & { t: string };
  reasoning_signature: Position & { signature: string };
  refusal: Position & Run & { t: string };
  tool_call: Position & { id: string; name: string };
  tool_args: Position & Run & { json: string };
  tool_end: Position;
  tool_result: Position & { id?: string; name?: string; content: string; error?: boolean };
  citation: Position & { source: Record<string, unknown> };
  logprobs: Position & { content?: unknown[]; refusal?: unknown[] };
  opaque: Position & { dialect: string; event?: string; data: unknown };
  usage: Position & Usage;
  notice: Position & { code: string; [more: string]: unknown };
  snapshot: Position & Snapshot;
  reset: Position & { reason: string; earliest?: string };
  error: Position & Failure;
  done: Position & Done;
}

export type NativeEvent = { [K in keyof Kinds]: { kind: K; data: Kinds[K] } }[keyof Kinds];

/** An event as it was read. */
export type Read = NativeEvent & {
  /** Where a reader goes on that has this event. */
  id: string | null;
  /** When the chunk that completed it was read (milliseconds, as Platform.now). */
  at: number;
};

/** Members without which an event of the kind means nothing. */
const NEEDED: { [K in keyof Kinds]: readonly [name: string, type: string][] } = {
  started: [["stream", "string"]],
  text: [["t", "string"]],
  reasoning: [["t", "string"]],
  reasoning_signature: [["signature", "string"]],
  refusal: [["t", "string"]],
  tool_call: [["id", "string"], ["name", "string"]],
  tool_args: [["json", "string"]],
  tool_end: [],
  tool_result: [["content", "string"]],
  citation: [],
  logprobs: [],
  opaque: [["dialect", "string"]],
  usage: [],
  notice: [["code", "string"]],
  snapshot: [["text", "string"], ["events", "number"]],
  reset: [["reason", "string"]],
  error: [["code", "string"], ["message", "string"]],
  done: [["state", "string"], ["events", "number"], ["text_sha256", "string"]],
};

export const KINDS = Object.keys(NEEDED) as (keyof Kinds)[];

/**
 * The event of that name and JSON text; null for kinds that we do not know (a newer relay's: to be ignored).
 * Throws SyntaxError or TypeError for what is broken.
 */
export function parseEvent(name: string, text: string): NativeEvent | null {
  if (!Object.hasOwn(NEEDED, name)) return null;
  const data: unknown = JSON.parse(text);
  const needed = NEEDED[name as keyof Kinds];
  if (!isObject(data)) throw new TypeError(`the data of ${name} is no object`);
  for (const [member, type] of needed) {
    if (typeof data[member] !== type) throw new TypeError(`${name} without ${member}`);
  }
  return { kind: name, data } as unknown as NativeEvent; // the members that matter were looked at
}

/** Usage that is the relay's and not the provider's: news beside the answer, at any time, and counted nowhere. */
export function estimate(event: NativeEvent): boolean {
  return event.kind === "usage" && event.data.estimated === true;
}

/** How many events of the full projection *event* stands for. A snapshot's count begins anew, and is not added. */
export function standsFor(event: NativeEvent): number {
  switch (event.kind) {
    case "text":
    case "reasoning":
    case "refusal":
    case "tool_args":
      return event.data.events ?? 1;
    default:
      return counted(event.kind) && !estimate(event) ? 1 : 0;
  }
}

/**
 * Whether `done` counts events of that name: those of the answer, not news of the relay, nor other lanes' (INTERFACES
 * section 3). Nor an `estimate`, whatever its name.
 */
export function counted(name: string): boolean {
  return name !== "notice" && name !== "reset" && name !== "snapshot" && name !== "done";
}

import { type Client, HttpError, TokenwireError, type Answer, type Failure, type Read } from "@tokenwire/client";
import { DIALECTS, type Dialect, choose, dialectOf } from "./dialects.js";
import type { Lane } from "./lane.js";
import { generated, grouped } from "./timing.js";

/** What a lane needs while it runs. */
export interface Surroundings {
  client: Client;
  /** The dialects that the relay lists for a model, if it does. */
  listed(model: string): readonly string[] | undefined;
  /** Something worth keeping changed. */
  changed(): void;
}

/**
 * Seconds after which the relay takes a page to have left that says nothing, where a proxy hides it. Longer than a page in
 * the background may be silent: browsers let its timers run once a minute.
 */
const LEASE = 180;

/** Which dialect an upstream took last: the list may not say. */
const learned = new Map<string, string>();

/** Stream: start, then follow. Two requests, so that a reload, or a lost line, goes on where it was. */
export async function stream(lane: Lane, { client, listed, changed }: Surroundings, signal: AbortSignal): Promise<void> {
  lane.sent();
  settle(lane, listed);
  changed();
  await follow(lane, { client, listed, changed }, signal);
}

/** After a reload: what was read is drawn already; go on behind it. */
export async function resume(lane: Lane, around: Surroundings, signal: AbortSignal): Promise<void> {
  lane.tick();
  await follow(lane, around, signal);
}

async function follow(lane: Lane, { client, listed, changed }: Surroundings, signal: AbortSignal): Promise<void> {
  await guarded(lane, signal, changed, async () => {
    // Under the lane's key: if the page was reloaded before the answer to this came, it attaches to what it began.
    const { ask, key } = lane;
    lane.id ??= (
      await inItsDialect(lane, listed, (dialect) =>
        client.start({ dialect: dialect.name, request: dialect.body(ask, true) }, { key: key + dialect.name, signal }),
      )
    ).id;
    changed();
    if (lane.stopping) await client.cancel(lane.id);
    await read(lane, client, changed, signal);
  });
}

/** Stop an answer: the relay closes the upstream at once. What was read stays. */
export async function stop(lane: Lane, { client }: Surroundings, abort: () => void): Promise<void> {
  lane.stopping = true;
  if (lane.way === "whole") {
    abort();
  } else if (lane.id !== null) {
    try {
      await client.cancel(lane.id);
    } catch {
      abort(); // the relay cannot be reached: the reader goes, and the stream ends as it lingers
    }
  }
}

/** Without streaming: one request, one answer, and a wait. */
export async function whole(lane: Lane, { client, listed, changed }: Surroundings, signal: AbortSignal): Promise<void> {
  lane.sent();
  await guarded(lane, signal, changed, async () => {
    const folded = await inItsDialect(lane, listed, async (dialect) => {
      const { path, headers } = dialect;
      return dialect.fold(await client.complete(path, dialect.body(lane.ask, false), { headers, signal }));
    });
    const { answer, marks } = lane;
    generated(marks, client.platform.now(), folded.text || folded.reasoning || "calls", true);
    marks.tokens = folded.outputTokens;
    answer.text = folded.text;
    answer.reasoning = folded.reasoning;
    answer.calls = folded.calls.map((call, block) => ({ ...call, block, ended: true, result: null }));
    lane.take(answer);
    lane.end("done");
  });
}

async function read(lane: Lane, client: Client, changed: () => void, signal: AbortSignal): Promise<void> {
  const { answer } = lane;
  const events = client.follow(lane.id as string, {
    after: answer.cursor,
    lease: LEASE,
    signal,
    onUnknown: (name, id) => answer.skip(name, id),
    onSituation: (now) => {
      if (now.state === "waiting") lane.link.value = `connection lost (${now.because}); trying again`;
      else if (now.state === "open") lane.link.value = "";
    },
  });
  for await (const event of events) {
    answer.take(event);
    show(lane, event);
    changed();
  }
  if (answer.done !== null) {
    await ended(lane, client, answer);
  } else if (!signal.aborted) {
    lane.end("lost", { code: "over", message: "the stream was over, and nothing of it is left", retryable: false });
  }
}

/** What one event changes on the page. Text only goes into a queue here. */
function show(lane: Lane, event: Read): void {
  const { answer, marks, phase } = lane;
  const first = event.data.choice === undefined && event.data.lane === undefined;
  if (!first) return;
  switch (event.kind) {
    case "text":
    case "refusal":
      phase.value = "answering";
      lane.text.write(event.data.t);
      generated(marks, event.at, event.data.t, true);
      break;
    case "reasoning":
      phase.value = "thinking";
      lane.hasThinking.value = true;
      lane.thinking.write(event.data.t);
      generated(marks, event.at, event.data.t, false);
      break;
    case "tool_call": {
      phase.value = "calling";
      const call = answer.call(event.data.block);
      if (call) lane.card(call);
      break;
    }
    case "tool_args":
      lane.cardOf(answer.call(event.data.block))?.ink.write(event.data.json);
      generated(marks, event.at, event.data.json, false);
      break;
    case "tool_end":
      lane.closeCard(answer.call(event.data.block));
      break;
    case "notice":
      lane.link.value = event.data.code === "resumed" ? "" : `the relay says: ${event.data.code.replaceAll("_", " ")}`;
      break;
    case "reset":
      lane.take(answer);
      lane.recount();
      break;
    case "snapshot":
      generated(marks, event.at, event.data.text, true);
      lane.take(answer);
      lane.recount();
      break;
    default:
      break;
  }
  // One by one they would be estimates; the provider's own count comes near the end.
  if (answer.usage?.output !== undefined && (event.kind === "usage" || event.kind === "done")) {
    if (!answer.usage.estimated) marks.tokens = answer.usage.output;
  }
}

async function ended(lane: Lane, client: Client, answer: Answer): Promise<void> {
  for (const { call } of lane.cards.value) lane.closeCard(call);
  const state = answer.done?.state;
  if (state === "completed") lane.end("done");
  else if (state === "cancelled") lane.end("stopped");
  else lane.end("failed", answer.error ?? { code: state ?? "failed", message: `it ended ${state}`, retryable: false });
  const verdict = await client.verify(answer);
  lane.verdict.value = {
    verified: `${grouped(answer.done?.events ?? 0)} events, none lost or doubled (SHA-256 of the text agrees)`,
    mismatch: "what arrived is not what the relay sent: please report this",
    partial: "not all of it: the relay no longer held the beginning, and said so",
    unverifiable: "not verified: browsers do that on https and on this machine only",
  }[verdict];
}

/** Every failure ends in the lane, told. */
async function guarded(lane: Lane, signal: AbortSignal, changed: () => void, step: () => Promise<void>): Promise<void> {
  try {
    await step();
  } catch (error) {
    if (!signal.aborted) lane.end("failed", failureOf(error));
  }
  if (signal.aborted && lane.live.value) lane.end("stopped");
  changed();
}

function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof TokenwireError)) return { code: "page", message, retryable: false };
  const status = error instanceof HttpError ? { upstream_status: error.status } : {};
  return { code: error.code, message, retryable: error.retryable, ...status };
}

/** Choose what the lane is asked in. Not again after a reload: under another key the model would run twice. */
function settle(lane: Lane, listed: Surroundings["listed"]): Dialect {
  const { model } = lane.ask;
  lane.dialect ??= choose(model, listed(model), learned.get(upstreamOf(lane))).name;
  return dialectOf(lane.dialect);
}

const upstreamOf = (lane: Lane): string => lane.ask.model.split("/")[0] ?? "";

/** In the lane's dialect; if the upstream speaks another one, which the list did not say, in that. */
async function inItsDialect<T>(lane: Lane, listed: Surroundings["listed"], ask: (dialect: Dialect) => Promise<T>): Promise<T> {
  const first = settle(lane, listed);
  try {
    return await ask(first);
  } catch (error) {
    if (!(error instanceof HttpError && error.status === 400 && /dialect/.test(error.code))) throw error;
    const other = DIALECTS.find((each) => each !== first);
    if (other === undefined) throw error;
    const answer = await ask(other);
    lane.dialect = other.name;
    learned.set(upstreamOf(lane), other.name);
    return answer;
  }
}

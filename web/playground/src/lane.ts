import { Answer, type Failure, type Platform, type SavedAnswer, type ToolCall, randomKey } from "@tokenwire/client";
import { computed, signal } from "@preact/signals";
import type { Ask } from "./dialects.js";
import { type Marks, begin, count, duration, e2e, estimate, grouped, rate, speed, ttft } from "./timing.js";
import { Typewriter, frames } from "./typewriter.js";

export type Phase = "idle" | "waiting" | "thinking" | "answering" | "calling" | "done" | "stopped" | "failed" | "lost";
export type Way = "stream" | "whole";

export const LIVE: ReadonlySet<Phase> = new Set(["waiting", "thinking", "answering", "calling"]);

/** Gauges move so often; more cannot be read. */
const GAUGE_MS = 100;

/** A tool call as it is shown. */
export interface Card {
  /** Its own, also where a snapshot brings the same call again: its host is another one. */
  key: number;
  call: ToolCall;
  ink: Typewriter;
  ended: boolean;
}

/** What survives a reload. */
export interface SavedLane {
  way: Way;
  ask: Ask;
  key: string;
  dialect: string | null;
  id: string | null;
  phase: Phase;
  answer: SavedAnswer;
  marks: Marks;
  failure: Failure | null;
  verdict: string;
}

/** One answer, as the page shows it. How it is got is the business of `run.ts`. */
export class Lane {
  readonly way: Way;
  ask: Ask;
  id: string | null = null;
  /** Of the start: asked again under it, the relay starts nothing twice. */
  key = randomKey();
  /** What it is asked in, chosen once: the key holds for that one. */
  dialect: string | null = null;
  stopping = false;
  answer = new Answer();
  marks: Marks;
  readonly text = new Typewriter();
  readonly thinking = new Typewriter();

  readonly phase = signal<Phase>("idle");
  readonly failure = signal<Failure | null>(null);
  readonly cards = signal<readonly Card[]>([]);
  readonly hasThinking = signal(false);
  readonly verdict = signal("");
  readonly link = signal("");
  readonly live = computed(() => LIVE.has(this.phase.value));

  // The gauges: texts for signal-bound text nodes, which change without a render.
  readonly ttft = signal("–");
  readonly rate = signal("–");
  readonly tokens = signal("–");
  readonly total = signal("–");
  /** For the wait's bars, milliseconds since the request was sent. */
  readonly wait = signal<number | null>(null);
  readonly span = signal(0);

  readonly #platform: Platform;
  #gauged = 0;
  #cards = 0;

  constructor(way: Way, ask: Ask, platform: Platform) {
    this.way = way;
    this.ask = ask;
    this.#platform = platform;
    this.marks = begin(platform.now());
  }

  static from(saved: SavedLane, platform: Platform): Lane {
    const lane = new Lane(saved.way, saved.ask, platform);
    lane.id = saved.id;
    lane.key = saved.key;
    lane.dialect = saved.dialect ?? null;
    lane.marks = { ...begin(saved.marks.sent), ...saved.marks }; // an older page kept other ones
    lane.phase.value = saved.phase;
    lane.failure.value = saved.failure;
    lane.verdict.value = saved.verdict;
    lane.take(Answer.from(saved.answer));
    lane.gauge();
    return lane;
  }

  save(): SavedLane {
    const { way, ask, key, dialect, id, marks } = this;
    return {
      way,
      ask,
      key,
      dialect,
      id,
      marks,
      answer: this.answer.save(),
      phase: this.phase.value,
      failure: this.failure.value,
      verdict: this.verdict.value,
    };
  }

  /** Sent now; the gauges run. */
  sent(): void {
    this.marks = begin(this.#platform.now());
    this.phase.value = "waiting";
    this.tick();
  }

  /** The gauges, ten times a second while the lane is live. */
  readonly tick = (): void => {
    if (!this.live.value) return;
    const now = this.#platform.now();
    if (now - this.#gauged >= GAUGE_MS) {
      this.#gauged = now;
      this.gauge();
    }
    frames.want(this.tick);
  };

  gauge(): void {
    const { marks } = this;
    const { n, estimated } = count(marks);
    const live = this.live.value;
    this.ttft.value = duration(ttft(marks));
    this.wait.value = ttft(marks);
    const [about, perSecond] = [estimated ? "≈ " : "", rate(marks)];
    this.rate.value = this.way === "whole" || perSecond === null ? "–" : about + speed(perSecond);
    this.tokens.value = estimated && (n === 0 || this.way === "whole") ? "–" : about + grouped(n);
    const span = live ? this.#platform.now() - marks.sent : (e2e(marks) ?? (marks.ended === null ? null : marks.ended - marks.sent));
    this.total.value = duration(span);
    this.span.value = span ?? 0;
  }

  /** Over, one way or the other. */
  end(phase: Phase, failure: Failure | null = null): void {
    this.marks.ended ??= this.#platform.now();
    this.phase.value = phase;
    this.failure.value = failure;
    this.link.value = "";
    this.gauge();
  }

  /** Show all of *answer* in place of what is there. */
  take(answer: Answer): void {
    this.answer = answer;
    this.text.clear();
    this.thinking.clear();
    this.cards.value = [];
    this.hasThinking.value = answer.reasoning !== "";
    this.thinking.write(answer.reasoning);
    this.text.write(answer.text + answer.refusal);
    for (const call of answer.calls) {
      this.card(call);
      this.cards.value.at(-1)?.ink.write(call.arguments);
    }
  }

  /** Estimate again from all of the answer: what was counted one by one was replaced. */
  recount(): void {
    const { text, refusal, reasoning, calls } = this.answer;
    this.marks.estimate = estimate(text) + estimate(refusal) + estimate(reasoning);
    for (const call of calls) this.marks.estimate += estimate(call.arguments);
  }

  card(call: ToolCall): void {
    this.cards.value = [...this.cards.value, { key: this.#cards++, call, ink: new Typewriter(), ended: call.ended }];
  }

  cardOf(call: ToolCall | undefined): Card | undefined {
    return this.cards.value.find((card) => card.call === call);
  }

  /** A card's call ended: its own look changes. */
  closeCard(call: ToolCall | undefined): void {
    this.cards.value = this.cards.value.map((card) => (card.call === call ? { ...card, ended: true } : card));
  }
}

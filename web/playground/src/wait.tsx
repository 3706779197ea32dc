import { computed } from "@preact/signals";
import type { JSX } from "preact";
import type { Lane } from "./lane.js";
import { lanes } from "./state.js";
import { duration, e2e, ttft, ttftAnswer } from "./timing.js";

const TITLES = { stream: "streamed", whole: "not streamed" } as const;
/** The bars' shortest scale: an answer of 40 ms should not look like a long one. */
const SHORTEST = 1000;

const scale = computed(() => Math.max(SHORTEST, ...lanes.value.map((lane) => lane.span.value)));

/** What the reader waits for, drawn to scale: until the first text, and until the whole answer. */
export function Wait(): JSX.Element | null {
  if (lanes.value.length === 0) return null;
  return (
    <section class="wait card" aria-label="The wait">
      <p class="verdict" data-test="wait">
        {sentence(lanes.value)}
      </p>
      <dl class="bars" aria-hidden="true">
        {lanes.value.map((lane) => (
          <Bar key={lane.key} lane={lane} />
        ))}
      </dl>
    </section>
  );
}

function Bar({ lane }: { lane: Lane }): JSX.Element {
  const span = lane.span.value;
  const first = lane.way === "whole" ? span : Math.min(lane.wait.value ?? span, span);
  const style = { "--wait": first / scale.value, "--span": span / scale.value };
  return (
    <div class={`bar ${lane.way}`} data-live={lane.live.value}>
      <dt>{TITLES[lane.way]}</dt>
      <dd>
        <span class="track" style={style}>
          <span class="waited" />
          <span class="read" />
        </span>
        <span class="figure">{lane.total}</span>
      </dd>
    </div>
  );
}

/** The comparison in words. */
function sentence(all: readonly Lane[]): string {
  for (const lane of all) void [lane.phase.value, lane.wait.value, lane.span.value];
  const streamed = all.find((lane) => lane.way === "stream");
  const whole = all.find((lane) => lane.way === "whole");
  const first = streamed ? (ttftAnswer(streamed.marks) ?? ttft(streamed.marks)) : null;
  const what = streamed?.marks.firstText === null ? "token" : "text"; // a tool call alone has no text
  const complete = whole?.phase.value === "done" ? e2e(whole.marks) : null;
  if (streamed && whole) {
    if (first === null) return "Waiting for both.";
    if (complete === null && whole.live.value) {
      return `Streamed: first ${what} after ${duration(first)}, and you are reading. Not streamed: still nothing.`;
    }
    if (complete === null) return `Streamed: first ${what} after ${duration(first)}. Not streamed: no answer.`;
    return `First ${what} after ${duration(first)}; the whole answer only after ${duration(complete)}${times(complete, first)}.`;
  }
  if (streamed) {
    if (first === null) return streamed.live.value ? "Waiting for the first text." : "No text came.";
    const last = streamed.live.value ? null : e2e(streamed.marks);
    if (last === null) return `First ${what} after ${duration(first)}, and you are reading.`;
    return `First ${what} after ${duration(first)}; without streaming you would have waited ${duration(last)}${times(last, first)}.`;
  }
  if (complete !== null) return `Nothing to read for ${duration(complete)}, then all of it at once.`;
  return whole?.live.value ? "Nothing to read until all of it is there." : "No answer came.";
}

function times(long: number, short: number): string {
  const factor = long / Math.max(short, 1);
  return factor >= 1.5 ? `: ${factor < 10 ? factor.toFixed(1) : Math.round(factor)} times the wait` : "";
}

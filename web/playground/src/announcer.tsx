import { effect, signal } from "@preact/signals";
import type { JSX } from "preact";
import type { Lane } from "./lane.js";
import { lanes, live } from "./state.js";

const spoken = signal("");
/** While an answer grows, a sign of life so often. */
const EVERY_MS = 8000;

let timer: ReturnType<typeof setInterval> | undefined;

effect(() => {
  clearInterval(timer);
  if (live.value) {
    spoken.value = "Generating.";
    timer = setInterval(() => {
      spoken.value = `Still generating: ${words(main())} words so far.`;
    }, EVERY_MS);
  } else if (lanes.value.length > 0) {
    const lane = main();
    spoken.value =
      lane?.phase.value === "failed" ? "The answer failed." : `The answer ${STATE[lane?.phase.value ?? ""] ?? "ended"}: ${words(lane)} words.`;
  }
});

const STATE: Record<string, string> = { done: "is complete", stopped: "was stopped" };

function main(): Lane | undefined {
  return lanes.value.find((lane) => lane.way === "stream") ?? lanes.value[0];
}

function words(lane: Lane | undefined): number {
  return lane?.answer.text.split(/\s+/).filter(Boolean).length ?? 0;
}

/** One polite region for screen readers, apart from the answers, whose tokens would be noise. */
export function Announcer(): JSX.Element {
  return (
    <p class="unseen" role="status" aria-live="polite" data-test="announcer">
      {spoken}
    </p>
  );
}

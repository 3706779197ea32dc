import { Client, Keeper, type Model } from "@tokenwire/client";
import { computed, effect, signal } from "@preact/signals";
import { Lane, type SavedLane, type Way } from "./lane.js";
import { type Surroundings, resume, stop, stream, whole } from "./run.js";

export type Mode = "stream" | "whole" | "both";

interface Saved {
  prompt: string;
  model: string;
  mode: Mode;
  tools: boolean;
  think: boolean;
  lanes: SavedLane[];
}

const WAYS: Record<Mode, readonly Way[]> = { stream: ["stream"], whole: ["whole"], both: ["stream", "whole"] };
const FIRST_PROMPT = "Tell me of the sea.";

export const client = new Client();
const keeper = new Keeper<Saved>(sessionStorage, "tokenwire.playground", client.platform);
const before = keeper.load();

export const prompt = signal(before?.prompt ?? FIRST_PROMPT);
export const model = signal(before?.model ?? "");
export const mode = signal<Mode>(before?.mode ?? "both");
export const tools = signal(before?.tools ?? false);
export const think = signal(before?.think ?? false);
export const lanes = signal<readonly Lane[]>([]);
export const models = signal<readonly Model[]>([]);
export const modelsProblem = signal("");
export const live = computed(() => lanes.value.some((lane) => lane.live.value));

const aborts = new Map<Lane, AbortController>();

const around: Surroundings = {
  client,
  listed: (name) => models.value.find((each) => each.id === name)?.dialects,
  changed: () => keeper.changed(save),
};

function save(): Saved {
  return {
    prompt: prompt.peek(),
    model: model.peek(),
    mode: mode.peek(),
    tools: tools.peek(),
    think: think.peek(),
    lanes: lanes.peek().map((lane) => lane.save()),
  };
}

effect(() => {
  void [prompt.value, model.value, mode.value, tools.value, think.value, lanes.value];
  around.changed();
});

/** Ask, in each of the chosen ways at once. */
export function send(): void {
  const text = prompt.value.trim();
  if (live.value || text === "" || model.value === "") return;
  const ask = { model: model.value, prompt: text, tools: tools.value, think: think.value };
  const fresh = WAYS[mode.value].map((way) => new Lane(way, ask, client.platform));
  aborts.clear();
  lanes.value = fresh;
  for (const lane of fresh) run(lane, lane.way === "stream" ? stream : whole);
}

export function stopAll(): void {
  for (const lane of lanes.value) if (lane.live.value) void stop(lane, around, () => aborts.get(lane)?.abort());
}

/** What the last page in this tab left: drawn as it was, and gone on with. */
export function restore(): void {
  if (before === null) return;
  const old = before.lanes.map((saved) => Lane.from(saved, client.platform));
  lanes.value = old;
  for (const lane of old) {
    if (!lane.live.value) continue;
    if (lane.way === "stream") run(lane, resume);
    else lane.end("lost", LOST);
  }
}

const LOST = {
  code: "not_streamed",
  message: "The page was reloaded while this was awaited, and with the request its answer is gone. A stream goes on.",
  retryable: false,
};

function run(lane: Lane, how: (lane: Lane, around: Surroundings, signal: AbortSignal) => Promise<void>): void {
  const abort = new AbortController();
  aborts.set(lane, abort);
  void how(lane, around, abort.signal);
}

/** A relay that has just started may still be asking its upstreams what they have. */
const LOOKS = 5;
const LOOK_MS = 1000;

/** Fetch the list, and choose from it if nothing that it holds is chosen. */
export async function loadModels(looks = LOOKS): Promise<void> {
  modelsProblem.value = "";
  try {
    const found = await client.models();
    models.value = found;
    if (found.length === 0) {
      modelsProblem.value = "No upstream has listed a model yet.";
      if (looks > 1) client.platform.after(LOOK_MS, () => void loadModels(looks - 1));
    } else if (!found.some((each) => each.id === model.value)) {
      model.value = (found.find((each) => each.id === "sim/gpt-4o") ?? found[0])?.id ?? "";
    }
  } catch (error) {
    modelsProblem.value = `The list of models cannot be had: ${error instanceof Error ? error.message : String(error)}`;
  }
}

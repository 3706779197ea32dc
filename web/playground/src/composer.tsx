import type { Model } from "@tokenwire/client";
import { computed } from "@preact/signals";
import type { JSX } from "preact";
import { live, loadModels, mode, model, models, modelsProblem, prompt, send, stopAll, think, tools } from "./state.js";
import type { Mode } from "./state.js";

const MODES: readonly [Mode, string][] = [
  ["stream", "Stream"],
  ["whole", "Don’t stream"],
  ["both", "Side by side"],
];

const EXAMPLES: readonly { text: string; tools: boolean }[] = [
  { text: "Tell me of the sea.", tools: false },
  { text: "Write a Python function with a test.", tools: false },
  { text: "What is the weather in Oslo and in Lima?", tools: true },
];

const groups = computed(() => {
  const found = new Map<string, Model[]>();
  for (const each of models.value) {
    const [upstream = "", ...rest] = each.id.split("/");
    const group = rest.length === 0 ? "aliases" : rest[0]?.startsWith("fault-") ? `${upstream}, failing on purpose` : upstream;
    found.set(group, [...(found.get(group) ?? []), each]);
  }
  return [...found];
});

export function Composer(): JSX.Element {
  const submit = (event: Event): void => {
    event.preventDefault();
    send();
  };
  return (
    <form class="composer card" onSubmit={submit}>
      <div class="field">
        <label for="prompt">Prompt</label>
        <textarea
          id="prompt"
          rows={5}
          value={prompt.value}
          onInput={(event) => {
            prompt.value = event.currentTarget.value;
          }}
          placeholder="Ask something"
        />
        <div class="examples" role="group" aria-label="Examples">
          {EXAMPLES.map((each) => (
            <button
              key={each.text}
              type="button"
              class="chip"
              onClick={() => {
                prompt.value = each.text;
                tools.value = each.tools;
              }}
            >
              {each.text}
            </button>
          ))}
        </div>
      </div>
      <ModelField />
      <fieldset class="segments">
        <legend>Answer</legend>
        <div>
          {MODES.map(([value, label]) => (
            <label key={value}>
              <input type="radio" name="mode" value={value} checked={mode.value === value} onChange={() => (mode.value = value)} />
              <span>{label}</span>
            </label>
          ))}
        </div>
      </fieldset>
      <div class="checks">
        <label class="check think">
          <input type="checkbox" checked={think.value} onChange={(event) => (think.value = event.currentTarget.checked)} />
          <span>
            Think first <small>where the model can</small>
          </span>
        </label>
        <label class="check tools">
          <input type="checkbox" checked={tools.value} onChange={(event) => (tools.value = event.currentTarget.checked)} />
          <span>
            Offer two tools <small>get_weather, get_time</small>
          </span>
        </label>
      </div>
      <div class="actions">
        <button type="submit" class="primary" disabled={live.value || prompt.value.trim() === "" || model.value === ""}>
          Send <kbd>Ctrl ↵</kbd>
        </button>
        <button type="button" class="stop" disabled={!live.value} onClick={stopAll}>
          Stop <kbd>Esc</kbd>
        </button>
      </div>
    </form>
  );
}

function ModelField(): JSX.Element {
  return (
    <div class="field">
      <label for="model">Model</label>
      <select id="model" value={model.value} onChange={(event) => (model.value = event.currentTarget.value)}>
        {model.value === "" ? <option value="">…</option> : null}
        {groups.value.map(([name, entries]) => (
          <optgroup key={name} label={name}>
            {entries.map((each) => (
              <option key={each.id} value={each.id}>
                {each.id}
              </option>
            ))}
          </optgroup>
        ))}
      </select>
      {modelsProblem.value ? (
        <p class="problem" role="alert">
          {modelsProblem}{" "}
          <button type="button" class="quiet" onClick={() => void loadModels()}>
            Look again
          </button>
        </p>
      ) : null}
    </div>
  );
}

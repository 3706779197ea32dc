import type { JSX } from "preact";
import { Announcer } from "./announcer.js";
import { Composer } from "./composer.js";
import { LaneView } from "./lane-view.js";
import { lanes } from "./state.js";
import { THEMES, theme } from "./theme.js";
import { Wait } from "./wait.js";

export function App(): JSX.Element {
  return (
    <>
      <Header />
      <main>
        <Composer />
        <div class="stage">
          <Wait />
          {lanes.value.length === 0 ? <Empty /> : null}
          <div class="lanes">
            {lanes.value.map((lane) => (
              <LaneView key={lane.key} lane={lane} />
            ))}
          </div>
        </div>
      </main>
      <Announcer />
    </>
  );
}

function Header(): JSX.Element {
  return (
    <header class="top">
      <h1>
        <span class="mark" aria-hidden="true" />
        tokenwire <small>playground</small>
      </h1>
      <fieldset class="segments themes">
        <legend class="unseen">Colours</legend>
        <div>
          {THEMES.map((each) => (
            <label key={each}>
              <input type="radio" name="theme" value={each} checked={theme.value === each} onChange={() => (theme.value = each)} />
              <span>{each}</span>
            </label>
          ))}
        </div>
      </fieldset>
    </header>
  );
}

function Empty(): JSX.Element {
  return (
    <div class="empty">
      <p>Ask, and watch the tokens arrive.</p>
      <p>
        Side by side, the same prompt is answered twice: once as a stream, once in a single piece. Reload the page in the
        middle of it: the stream goes on where you were.
      </p>
    </div>
  );
}

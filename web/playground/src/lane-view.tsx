import { useComputed, useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Card, Lane, Phase } from "./lane.js";
import type { Typewriter } from "./typewriter.js";

const TITLES = { stream: "Streaming", whole: "Not streaming" } as const;
const PHASES: Record<Phase, string> = {
  idle: "",
  waiting: "waiting",
  thinking: "thinking",
  answering: "answering",
  calling: "calling a tool",
  done: "complete",
  stopped: "stopped",
  failed: "failed",
  lost: "lost",
};

/** One answer. Rendered when its state changes, never for a token: text goes past Preact, into the typewriters' hosts. */
export function LaneView({ lane }: { lane: Lane }): JSX.Element {
  const { phase, failure, verdict, link, cards, hasThinking } = lane;
  const name = `${TITLES[lane.way]} answer`;
  return (
    <article class={`lane card ${lane.way}`} aria-label={name} data-phase={phase.value} data-stream={lane.id}>
      <header>
        <h2>{TITLES[lane.way]}</h2>
        <span class="phase">{PHASES[phase.value]}</span>
        {lane.live.value ? null : <Copy lane={lane} />}
      </header>
      <dl class="gauges">
        <Gauge name="first token" unit={lane.ttft} test="ttft" hint="TTFT: from sending to the first token" />
        <Gauge name="tokens/s" unit={lane.rate} test="rate" hint="(tokens − 1) / (last − first), the inverse of TPOT" />
        <Gauge name="tokens" unit={lane.tokens} test="tokens" hint="≈ until the provider tells" />
        <Gauge name="total" unit={lane.total} test="total" hint="from sending to the last token" />
      </dl>
      <Scroll lane={lane} name={name}>
        {hasThinking.value ? <Thinking lane={lane} /> : null}
        <Ink writer={lane.text} class="answer" test="answer" />
        {cards.value.map((card) => (
          <ToolCard key={card.key} card={card} />
        ))}
        {failure.value ? <Trouble lane={lane} /> : null}
      </Scroll>
      <footer>
        {link.value ? <span class="link">{link}</span> : null}
        {verdict.value ? <span data-test="verdict">{verdict}</span> : null}
        {lane.live.value && lane.way === "whole" ? <span>Nothing can be shown before all of it is there.</span> : null}
      </footer>
    </article>
  );
}

function Gauge(props: { name: string; unit: Lane["ttft"]; test: string; hint: string }): JSX.Element {
  return (
    <div title={props.hint}>
      <dt>{props.name}</dt>
      <dd data-test={props.test}>{props.unit}</dd>
    </div>
  );
}

/** A host for a typewriter: rendered once, then its own. */
function Ink(props: { writer: Typewriter; class: string; test: string }): JSX.Element {
  const { writer } = props;
  return <div ref={(host) => writer.attach(host)} class={props.class} data-test={props.test} />;
}

/**
 * The part that scrolls. A stream is pinned to its end until the reader scrolls up, and again once they are back; an
 * answer in one piece is read from its top.
 */
function Scroll({ lane, name, children }: { lane: Lane; name: string; children: ComponentChildren }): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const grows = lane.way === "stream";
  const pinned = useRef(true);
  useEffect(() => {
    const follow = (): void => {
      const element = box.current;
      if (element && grows && pinned.current) element.scrollTop = element.scrollHeight;
    };
    lane.text.onDrawn = lane.thinking.onDrawn = follow;
    return () => {
      lane.text.onDrawn = lane.thinking.onDrawn = () => undefined;
    };
  }, [lane, grows]);
  // Only a gesture releases the pin: our own scrolling makes scroll events, too.
  const gesture = (): void => {
    requestAnimationFrame(() => {
      const element = box.current;
      if (element) pinned.current = element.scrollHeight - element.scrollTop - element.clientHeight < 24;
    });
  };
  // aria-live is off: token by token would be noise. The announcer says what matters.
  return (
    <div
      ref={box}
      class="scroll"
      role="log"
      aria-live="off"
      aria-label={name}
      aria-busy={lane.live.value}
      tabIndex={0}
      onWheel={gesture}
      onTouchMove={gesture}
      onKeyDown={gesture}
      onPointerUp={gesture}
    >
      {children}
    </div>
  );
}

function Thinking({ lane }: { lane: Lane }): JSX.Element {
  const chosen = useSignal<boolean | null>(null);
  // Open while the model thinks, closed once it answers; whoever clicks decides otherwise.
  const open = useComputed(() => chosen.value ?? (lane.phase.value === "thinking" || lane.answer.text === ""));
  return (
    <details class="thinking" open={open.value} data-test="thinking">
      <summary
        onClick={(event) => {
          event.preventDefault();
          chosen.value = !open.value;
        }}
      >
        {lane.phase.value === "thinking" ? "Thinking …" : "Thoughts"}
      </summary>
      <Ink writer={lane.thinking} class="ink" test="thoughts" />
    </details>
  );
}

function ToolCard({ card }: { card: Card }): JSX.Element {
  return (
    <details class="tool" open data-test="tool">
      <summary>
        <span class="kind">tool</span> <code>{card.call.name}</code>
        <span class="phase">{card.ended ? "called" : "writing its arguments"}</span>
      </summary>
      <Ink writer={card.ink} class="ink mono" test="arguments" />
    </details>
  );
}

function Trouble({ lane }: { lane: Lane }): JSX.Element {
  const failure = lane.failure.value;
  const status = failure?.upstream_status ? ` · ${failure.upstream_status}` : "";
  return (
    <div class="trouble" role="alert" data-test="failure">
      <strong>{failure?.message}</strong>
      <span>
        {failure?.code}
        {status}
        {failure?.retryable ? " · trying again may help" : ""}
      </span>
    </div>
  );
}

function Copy({ lane }: { lane: Lane }): JSX.Element | null {
  const copied = useSignal(false);
  const label = useComputed(() => (copied.value ? "Copied" : "Copy"));
  if (lane.answer.text === "" || !navigator.clipboard) return null;
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(lane.answer.text);
      copied.value = true;
    } catch {
      copied.value = false; // the browser did not allow it; the text can be selected
    }
  };
  return (
    <button type="button" class="quiet" onClick={() => void copy()}>
      {label}
    </button>
  );
}

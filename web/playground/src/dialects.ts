import { isObject } from "@tokenwire/client";

export interface Ask {
  model: string;
  prompt: string;
  tools: boolean;
  /** Let the model think first, where it can. */
  think: boolean;
}

export interface Folded {
  text: string;
  reasoning: string;
  calls: { id: string; name: string; arguments: string }[];
  outputTokens: number | null;
}

/** How a model is asked in its upstream's own dialect, and how its whole answer is read. */
export interface Dialect {
  name: string;
  /** The vendor route for an answer that is not streamed. */
  path: string;
  headers: Record<string, string>;
  body(ask: Ask, stream: boolean): Record<string, unknown>;
  fold(answer: unknown): Folded;
}

const TOOLS = [
  {
    name: "get_weather",
    description: "The current weather in a city",
    schema: {
      type: "object",
      properties: { city: { type: "string" }, unit: { type: "string", enum: ["celsius", "fahrenheit"] } },
      required: ["city", "unit"],
      additionalProperties: false,
    },
  },
  {
    name: "get_time",
    description: "The current time in a city",
    schema: {
      type: "object",
      properties: { city: { type: "string" } },
      required: ["city"],
      additionalProperties: false,
    },
  },
];

/** Anthropic wants a limit; its older models take no more. */
const MAX_TOKENS = 4096;
/** The least that Anthropic takes. */
const THINKING_TOKENS = 1024;

export const DIALECTS: readonly Dialect[] = [
  {
    name: "openai.chat",
    path: "/v1/chat/completions",
    headers: {},
    body: ({ model, prompt, tools, think }, stream) => ({
      model,
      messages: [{ role: "user", content: prompt }],
      ...(stream ? { stream: true, stream_options: { include_usage: true } } : { stream: false }),
      ...(think ? { reasoning_effort: "medium" } : {}),
      ...(tools ? { tools: TOOLS.map(({ schema, ...each }) => ({ type: "function", function: { ...each, parameters: schema } })) } : {}),
    }),
    fold: (answer) => {
      const message = dig(answer, "choices", 0, "message");
      return {
        text: words(dig(message, "content")) || words(dig(message, "refusal")),
        reasoning: words(dig(message, "reasoning_content")) || words(dig(message, "reasoning")),
        calls: list(dig(message, "tool_calls")).map((call) => ({
          id: words(dig(call, "id")),
          name: words(dig(call, "function", "name")),
          arguments: words(dig(call, "function", "arguments")),
        })),
        outputTokens: number(dig(answer, "usage", "completion_tokens")),
      };
    },
  },
  {
    name: "anthropic",
    path: "/v1/messages",
    headers: { "anthropic-version": "2023-06-01" },
    body: ({ model, prompt, tools, think }, stream) => ({
      model,
      max_tokens: MAX_TOKENS,
      messages: [{ role: "user", content: prompt }],
      stream,
      ...(think ? { thinking: { type: "enabled", budget_tokens: THINKING_TOKENS } } : {}),
      ...(tools ? { tools: TOOLS.map(({ schema, ...each }) => ({ ...each, input_schema: schema })) } : {}),
    }),
    fold: (answer) => {
      const blocks = list(dig(answer, "content"));
      const joined = (kind: string, member: string): string =>
        blocks.filter((block) => dig(block, "type") === kind).map((block) => words(dig(block, member))).join("");
      return {
        text: joined("text", "text"),
        reasoning: joined("thinking", "thinking"),
        calls: blocks
          .filter((block) => dig(block, "type") === "tool_use")
          .map((block) => ({
            id: words(dig(block, "id")),
            name: words(dig(block, "name")),
            arguments: JSON.stringify(dig(block, "input") ?? {}),
          })),
        outputTokens: number(dig(answer, "usage", "output_tokens")),
      };
    },
  },
];

/** The dialect of that name; without one, the first, which most upstreams speak. */
export function dialectOf(name: string | undefined): Dialect {
  return DIALECTS.find((each) => each.name === name) ?? (DIALECTS[0] as Dialect);
}

/**
 * What a model is asked in. Of the dialects that the relay lists for it, Anthropic's for Anthropic's models, whose
 * thinking only that can ask for; else the first. Without a list, the one that its upstream took before.
 */
export function choose(model: string, listed: readonly string[] = [], taken?: string): Dialect {
  const spoken = listed.filter((name) => DIALECTS.some((each) => each.name === name));
  if (spoken.includes("anthropic") && (/claude/i.test(model) || !spoken.includes("openai.chat"))) return dialectOf("anthropic");
  return dialectOf(spoken[0] ?? taken);
}

function dig(value: unknown, ...path: (string | number)[]): unknown {
  for (const step of path) {
    if (typeof step === "number") value = Array.isArray(value) ? value[step] : undefined;
    else value = isObject(value) ? value[step] : undefined;
  }
  return value;
}

const words = (value: unknown): string => (typeof value === "string" ? value : "");
const number = (value: unknown): number | null => (typeof value === "number" ? value : null);
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

import { expect, test } from "vitest";
import { DIALECTS, choose, dialectOf } from "../src/dialects.js";
import { begin, count, duration, e2e, estimate, generated, grouped, rate, speed, ttft, ttftAnswer } from "../src/timing.js";

test("the metrics are DESIGN section 7's", () => {
  const marks = begin(1000);
  expect([ttft(marks), ttftAnswer(marks), e2e(marks), rate(marks)]).toEqual([null, null, null, null]);
  generated(marks, 1100, "", true); // an empty delta is no generated event
  expect(ttft(marks)).toBeNull();
  generated(marks, 1400, "hm", false);
  generated(marks, 1900, "Hi", true);
  generated(marks, 2400, "!", true);
  expect([ttft(marks), ttftAnswer(marks), e2e(marks)]).toEqual([400, 900, 1400]);
  expect(count(marks)).toEqual({ n: 1, estimated: true }); // four letters, and a mark
  generated(marks, 2400, "a word".repeat(5), true);
  expect(count(marks)).toEqual({ n: 8, estimated: true });
  expect(rate(marks)).toBe(7); // (8 − 1) / 1 s
  marks.tokens = 11;
  expect(count(marks)).toEqual({ n: 11, estimated: false });
  expect(rate(marks)).toBe(10);
});

// The figures are tokenwire.measure.tokens.count's.
test.each([
  ["Hello, wide world 2024!\n", 6.690909090909],
  ["Grüße, мир", 3.409090909091],
  ["海は広い 🌊", 5.560606060606],
  ['{"a": [1, 23]}', 5.881818181818],
  ["", 0],
])("%j is about %s tokens, however it is cut", (text, wanted) => {
  expect(estimate(text)).toBeCloseTo(wanted, 9);
  expect(text.split("").reduce((sum, part) => sum + estimate(part), 0)).toBeCloseTo(wanted, 9);
});

test("nothing is no token, and anything is one", () => {
  const marks = begin(0);
  expect(count(marks)).toEqual({ n: 0, estimated: true });
  generated(marks, 1, "a", true);
  expect(count(marks)).toEqual({ n: 1, estimated: true });
});

test("one event has no rate", () => {
  const marks = begin(0);
  generated(marks, 5, "all", true);
  expect(rate(marks)).toBeNull();
});

test.each([
  [null, "–"],
  [0, "0 ms"],
  [412.4, "412 ms"],
  [999.4, "999 ms"],
  [999.6, "1.00 s"],
  [3120, "3.12 s"],
  [61_000, "1 min 1 s"],
])("%s ms is %s", (value, wanted) => {
  expect(duration(value)).toBe(wanted);
});

test("figures", () => {
  expect([speed(null), speed(Number.POSITIVE_INFINITY), speed(54.26), speed(2600.4)]).toEqual(["–", "–", "54.3", "2,600"]);
  expect([0, 999, 1000, 1234567].map(grouped)).toEqual(["0", "999", "1,000", "1,234,567"]);
});

const ask = { model: "m", prompt: "hi", tools: true, think: false };

test("requests are in each vendor's words", () => {
  const [openai, anthropic] = DIALECTS;
  expect(openai?.body({ ...ask, tools: false }, false)).toEqual({ model: "m", messages: [{ role: "user", content: "hi" }], stream: false });
  expect(openai?.body(ask, true)).toMatchObject({ stream_options: { include_usage: true }, tools: [{ type: "function", function: { name: "get_weather" } }, {}] });
  expect(anthropic?.body(ask, true)).toMatchObject({ max_tokens: 4096, stream: true, tools: [{ name: "get_weather", input_schema: { type: "object" } }, {}] });
  expect(openai?.body({ ...ask, think: true }, true)).toMatchObject({ reasoning_effort: "medium" });
  expect(anthropic?.body({ ...ask, think: true }, true)).toMatchObject({ thinking: { type: "enabled", budget_tokens: 1024 } });
  expect(dialectOf(undefined).name).toBe("openai.chat");
  expect(dialectOf("anthropic").path).toBe("/v1/messages");
  expect(dialectOf("gemini").name).toBe("openai.chat");
});

test.each([
  ["sim/gpt-4o", ["openai.chat", "anthropic"], "openai.chat"],
  ["sim/claude-sonnet-4-5", ["openai.chat", "anthropic"], "anthropic"],
  ["router/claude", ["openai.chat"], "openai.chat"], // where that allows it
  ["up/m", ["anthropic"], "anthropic"],
  ["up/m", ["anthropic", "openai.chat"], "anthropic"],
  ["up/m", ["unheard.of", "anthropic"], "anthropic"],
  ["up/claude", [], "openai.chat"],
  ["up/claude", undefined, "openai.chat"],
])("%s, which speaks %j, is asked in %s", (model, listed, wanted) => {
  expect(choose(model, listed).name).toBe(wanted);
});

test("without a list, what its upstream took before", () => {
  expect(choose("up/m", undefined, "anthropic").name).toBe("anthropic");
  expect(choose("up/m", ["openai.chat"], "anthropic").name).toBe("openai.chat");
});

test("whole answers are read", () => {
  const call = { id: "c", type: "function", function: { name: "f", arguments: "{}" } };
  const chat = { choices: [{ message: { content: "Hi", reasoning_content: "hm", tool_calls: [call] } }], usage: { completion_tokens: 3 } };
  const wanted = { text: "Hi", reasoning: "hm", calls: [{ id: "c", name: "f", arguments: "{}" }], outputTokens: 3 };
  expect(dialectOf("openai.chat").fold(chat)).toEqual(wanted);
  const message = {
    content: [{ type: "thinking", thinking: "hm" }, { type: "text", text: "H" }, { type: "text", text: "i" }, { type: "tool_use", id: "c", name: "f", input: {} }],
    usage: { output_tokens: 3 },
  };
  expect(dialectOf("anthropic").fold(message)).toEqual(wanted);
  for (const each of DIALECTS) {
    expect(each.fold(null)).toEqual({ text: "", reasoning: "", calls: [], outputTokens: null });
  }
});

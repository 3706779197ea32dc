import { expect, test } from "vitest";
import { Answer, Keeper, type Read, refused, seen } from "../src/index.js";
import { FakeWorld } from "./world.js";

test.each([
  ["1-5", "1-5", true],
  ["1-4", "1-5", true],
  ["1-6", "1-5", false],
  ["1-5.1", "1-5", false],
  ["1-5.1", "1-5.2", true],
  ["1-10", "1-9", false],
  ["2-1", "1-9", false],
  ["1-1", "2-9", false],
  ["1-900719925474099301", "1-900719925474099300", false],
  ["x", "1-5", false],
  ["1-5", null, false],
] as const)("id %s after %s: seen is %s", (id, cursor, wanted) => {
  expect(seen(id, cursor)).toBe(wanted);
});

test.each([
  ['{"error":{"code":"a","message":"b"}}', 400, "a", "b"],
  ['{"error":{"type":"t","message":"b"}}', 400, "t", "b"],
  ['{"detail":"nope"}', 404, "http_404", "nope"],
  ["<html>bad gateway</html>", 502, "http_502", "<html>bad gateway</html>"],
  ["", 500, "http_500", "the relay answered 500"],
])("a refusal %s", async (body, status, code, message) => {
  const error = await refused(new Response(body, { status }));
  expect(error).toMatchObject({ status, code, message });
});

test("retry-after, exact and in seconds", async () => {
  const after = async (headers: Record<string, string>): Promise<number | null> =>
    (await refused(new Response("", { status: 429, headers }))).retryAfter;
  expect(await after({ "retry-after-ms": "120", "retry-after": "1" })).toBe(120);
  expect(await after({ "retry-after": "2" })).toBe(2000);
  expect(await after({ "retry-after": "Wed, 21 Oct 2026 07:28:00 GMT" })).toBeNull();
  expect(await after({})).toBeNull();
});

test("what a reader behind is told at once counts for what it stands for", () => {
  const answer = new Answer();
  const take = (kind: string, data: object, id: string): void => answer.take({ kind, data, id, at: 0 } as unknown as Read);
  take("started", { stream: "st_1", model: "m", created: 1 }, "1-0.1");
  take("reasoning", { t: "hmhm", events: 2 }, "1-2");
  take("text", { t: "Hello", events: 3 }, "1-5");
  take("tool_call", { id: "c1", name: "f" }, "1-6");
  take("tool_args", { json: "{}", events: 2 }, "1-8");
  take("text", { t: "lane", lane: "b", events: 9 }, "1-9");
  expect(answer).toMatchObject({ text: "Hello", events: 9, cursor: "1-9" });
  take("snapshot", { text: "Hello", events: 9 }, "1-9");
  take("text", { t: "!", events: 2 }, "1-11");
  expect(answer).toMatchObject({ text: "Hello!", events: 11 });
});

test("an answer folds, is saved, and goes on", () => {
  const answer = new Answer();
  const take = (kind: string, data: object, id: string): void => answer.take({ kind, data, id, at: 0 } as unknown as Read);
  take("started", { stream: "st_1", model: "m", created: 1 }, "1-1");
  take("reasoning", { t: "hm" }, "1-2");
  take("text", { t: "other", choice: 1 }, "1-3");
  take("text", { t: "lane", lane: "b" }, "1-4");
  take("tool_call", { id: "c1", name: "f" }, "1-5");
  take("tool_call", { id: "c2", name: "g", block: 1 }, "1-6");
  take("tool_args", { json: "{}", block: 1 }, "1-7");
  take("notice", { code: "queued" }, "1-7");
  const copy = Answer.from(JSON.parse(JSON.stringify(answer.save())) as ReturnType<Answer["save"]>);
  for (const each of [answer, copy]) {
    each.take({ kind: "tool_end", data: { block: 1 }, id: "1-8", at: 0 });
    each.take({ kind: "tool_result", data: { block: 1, content: "42" }, id: "1-9", at: 0 });
    each.take({ kind: "usage", data: { output: 7 }, id: "1-10", at: 0 });
  }
  expect(copy.save()).toEqual(answer.save());
  expect(answer).toMatchObject({ text: "", reasoning: "hm", usage: { output: 7 }, cursor: "1-10", events: 9 });
  expect(answer.calls).toMatchObject([{ name: "f", ended: false }, { name: "g", arguments: "{}", ended: true, result: "42" }]);
});

test("an estimate is news: no count has it, and the provider's figure replaces it", () => {
  const answer = new Answer();
  const take = (data: object): void => answer.take({ kind: "usage", data, id: "1-1", at: 0 } as unknown as Read);
  take({ input: 14, output: 3, cost_usd: 0.5, estimated: true });
  take({ input: 14, output: 5, estimated: true });
  expect(answer).toMatchObject({ events: 0, usage: { input: 14, output: 5, cost_usd: 0.5, estimated: true } });
  take({ output: 7 });
  expect(answer.events).toBe(1);
  expect(answer.usage).toEqual({ input: 14, output: 7, cost_usd: 0.5 });
});

test("without SHA-256 nothing is vouched for, but the count is", async () => {
  const answer = new Answer();
  const done = { state: "completed", events: 0, text_sha256: "" } as const;
  expect(await answer.verify(done, { sha256: null })).toBe("unverifiable");
  expect(await answer.verify({ ...done, events: 1 }, { sha256: null })).toBe("mismatch");
});

test("a keeper writes now and then, when the page goes, and never half", async () => {
  const world = new FakeWorld();
  const kept = new Map<string, string>();
  let full = false;
  const box = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => {
      if (full) throw new DOMException("full", "QuotaExceededError");
      kept.set(key, value);
    },
    removeItem: (key: string) => void kept.delete(key),
  };
  const keeper = new Keeper<number>(box, "k", world.platform);
  expect(keeper.load()).toBeNull();
  keeper.changed(() => 1);
  keeper.changed(() => 2);
  expect(kept.size).toBe(0);
  await world.run(() => kept.size === 1);
  expect(keeper.load()).toBe(2);
  expect(world.waits).toEqual([250]);
  keeper.changed(() => 3);
  world.mood("asleep");
  expect(keeper.load()).toBe(3);
  expect(world.timers.size).toBe(0);
  full = true;
  keeper.changed(() => 4);
  keeper.flush();
  expect(keeper.load()).toBeNull();
  kept.set("k", "{broken");
  expect(keeper.load()).toBeNull();
});

// The AI SDK's own hook in a real browser: reloads, tabs, lines that break, a relay that is killed.
import { randomUUID } from "node:crypto";
import { SseDecoder } from "@tokenwire/client";
import { PATIENCE, type Server, type Tab as Tabs, Tab, expect, put, test, versionOf } from "./app.js";
import { BreakingLine } from "./proxy.js";
import type { Script } from "./upstream.js";

const WORDS = Array.from({ length: 120 }, (_, number) => `word${number} `);
const TEXT = WORDS.join("");

function saying(words: string[], pause = 15): Script {
  return { deltas: words.map((content) => ({ content })), pause, finish: "stop" };
}

const CALL: Script = {
  deltas: [
    { content: "Let me see. " },
    { tool_calls: [{ index: 0, id: "call_1", type: "function", function: { name: "weather", arguments: "" } }] },
    { tool_calls: [{ index: 0, function: { arguments: '{"city":' } }] },
    { tool_calls: [{ index: 0, function: { arguments: '"Oslo"}' } }] },
  ],
  pause: 0,
  finish: "tool_calls",
};

/** What the relay has of the answer that the tab shows: its state, and its text as another reader is told it. */
async function kept(server: Server, tab: Tabs): Promise<{ state: string; text: string }> {
  const { messages } = await tab.shown();
  const id = messages.at(-1)?.id.replace(/^msg_/, "st_");
  const { state } = (await (await fetch(`${server.url}/v1/streams/${id}`)).json()) as { state: string };
  const events = new SseDecoder().feed(new Uint8Array(await (await fetch(`${server.url}/v1/streams/${id}/events`)).arrayBuffer()));
  const texts = events.filter(({ event }) => event === "text").map(({ data }) => (JSON.parse(data) as { t: string }).t);
  return { state, text: texts.join("") };
}

test.beforeEach(({ server }) => {
  server.scripted.script = saying(WORDS);
  server.scripted.next.length = server.scripted.asked.length = server.scripted.left = 0;
});

for (const version of [5, 6, 7]) {
  test(`ai ${versionOf(version)}: a tool, and a reload in mid-stream`, async ({ context, server }) => {
    await put(context, server.url, version);
    const tab = await Tab.open(context, server.url, { chat: randomUUID(), keep: version === 6 ? "asked" : "all" });
    server.scripted.next.push(CALL);
    await tab.press("Send");
    await tab.grows(40); // within the second answer, after the tool's result
    for (let reload = 0; reload < (version === 7 ? 2 : 1); reload++) {
      const before = await tab.text();
      await tab.page.reload();
      await expect.poll(() => tab.text(), PATIENCE).toContain(before);
      await tab.grows();
    }
    await tab.status("ready");
    const { messages, calls, error } = await tab.shown();
    expect(await tab.text()).toBe(`Let me see. ${TEXT}`);
    expect(messages.map(({ role }) => role)).toEqual(["user", "assistant"]);
    const parts = messages[1]?.parts.filter(({ toolCallId }) => toolCallId) ?? [];
    expect(parts.map(({ type, state, output }) => ({ type, state, output }))).toEqual([
      { type: "tool-weather", state: "output-available", output: { degrees: 12, asked: { city: "Oslo" } } },
    ]);
    expect(parts[0]?.input).toEqual({ city: "Oslo" });
    expect([calls, error]).toEqual([["call_1"], null]);
    expect(server.scripted.asked.map((asked) => asked.messages.at(-1)?.role)).toEqual(["user", "tool"]);
  });
}

test("a reload after the end finds nothing under way, and shows what was kept", async ({ context, server }) => {
  server.scripted.script = saying(["all ", "of ", "it"], 0);
  await put(context, server.url, 7);
  const tab = await Tab.open(context, server.url, { chat: randomUUID() });
  await tab.press("Send");
  await expect.poll(() => tab.text(), PATIENCE).toBe("all of it");
  await tab.status("ready");
  const resumed = tab.page.waitForResponse((response) => response.url().endsWith("/stream"));
  await tab.page.reload();
  expect((await resumed).status()).toBe(204);
  await tab.status("ready");
  expect(await tab.text()).toBe("all of it");
  expect((await tab.shown()).error).toBeNull();
});

test("the stop route stops a resumed answer at its provider, and the message stays", async ({ context, server }) => {
  await put(context, server.url, 7);
  const tab = await Tab.open(context, server.url, { chat: randomUUID() });
  await tab.press("Send");
  await tab.grows();
  await tab.page.reload();
  const before = await tab.grows();
  await tab.press("Stop");
  await tab.status("ready");
  await expect.poll(() => server.scripted.left, PATIENCE).toBe(1);
  const text = await tab.text();
  expect(TEXT.startsWith(text) && text.startsWith(before) && text.length < TEXT.length).toBe(true);
  expect((await tab.shown()).error).toBeNull();
  expect((await kept(server, tab)).state).toBe("cancelled");
  await tab.page.reload(); // and nothing begins again
  await tab.status("ready");
  expect(await tab.text()).toBe(text);
});

test("two tabs of one chat show the same answer, and either may stop it", async ({ context, server }) => {
  await put(context, server.url, 7);
  const chat = randomUUID();
  const first = await Tab.open(context, server.url, { chat });
  await first.press("Send");
  await first.grows();
  const second = await Tab.open(context, server.url, { chat });
  await second.grows();
  await second.page.reload();
  await second.grows();
  await second.press("Stop");
  for (const tab of [first, second]) await tab.status("ready");
  expect(await second.text()).toBe(await first.text());
  expect((await second.shown()).messages.map(({ id }) => id)).toEqual((await first.shown()).messages.map(({ id }) => id));
  expect(server.scripted.asked.length).toBe(1);
});

test("a network that is gone for a while: resumeStream shows the rest", async ({ context, server }) => {
  const line = new BreakingLine(server.url, []);
  const origin = await line.listen();
  try {
    await put(context, origin, 7);
    const tab = await Tab.open(context, origin, { chat: randomUUID() });
    await tab.press("Send");
    await tab.grows();
    await context.setOffline(true); // for new connections: what is under way goes on in Chromium
    line.cut();
    await tab.status("error");
    const before = await tab.text();
    expect(before.length).toBeGreaterThan(0); // what came stays on the screen
    await tab.press("Resume");
    await expect.poll(async () => (await tab.shown()).error, PATIENCE).toContain("fetch");
    await context.setOffline(false);
    await tab.press("Resume");
    await tab.status("ready");
    expect(await tab.text()).toBe(TEXT);
    expect((await tab.shown()).error).toBeNull();
    expect(server.scripted.asked.length).toBe(1);
  } finally {
    await context.close();
    await line.close();
  }
});

test("a relay that is killed and begun again: nothing doubled, and the chat goes on", async ({ context, server }) => {
  await put(context, server.url, 7);
  const tab = await Tab.open(context, server.url, { chat: randomUUID() });
  await tab.press("Send");
  const old = await tab.grows();
  await tab.page.waitForTimeout(300); // what is older than a flush is on the disk
  await server.kill();
  await tab.status("error");
  const before = await tab.text();
  await server.again();
  await tab.press("Resume");
  await tab.status("ready");
  expect(await tab.text()).toBe(before); // no answer of this chat is under way: it was cut with the relay
  const { state, text } = await kept(server, tab);
  expect(state).toBe("orphaned");
  expect(TEXT.startsWith(text) && text.startsWith(old)).toBe(true);
  server.scripted.script = saying(["and ", "on"], 0);
  await tab.press("Send");
  const texts = async (): Promise<string[]> =>
    (await tab.shown()).messages.map(({ role, parts }) => `${role}: ${parts.map((part) => part.text ?? "").join("")}`);
  await expect.poll(texts, PATIENCE).toEqual(["user: hi", `assistant: ${before}`, "user: hi", "assistant: and on"]);
});

// The two snippets that every textbook has, as they stand there, against /api/chat; and our own plain functions.
import { library } from "./library.js";
import { expect, test } from "./world.js";

declare const tokenwire: typeof import("@tokenwire/client");

const MODEL = "sim/gpt-4o";
const PROMPT = "Tell me of the sea.";

test.beforeEach(async ({ page, world }) => {
  await page.goto(world.url); // a page of the relay's own origin; no other may ask
});

test("EventSource, as in the textbook", async ({ page }) => {
  const { text, pieces } = await page.evaluate(
    ([prompt, model]) =>
      new Promise<{ text: string; pieces: number }>((resolve, reject) => {
        const out = { text: "", pieces: 0 };
        const run = crypto.randomUUID();
        const url = `/api/chat?prompt=${encodeURIComponent(prompt)}&model=${encodeURIComponent(model)}&run=${run}`;

        const source = new EventSource(url);
        source.onmessage = (event) => {
          if (event.data === "[DONE]") {
            source.close();
            resolve(out);
            return;
          }
          out.text += JSON.parse(event.data).text;
          out.pieces += 1;
        };
        source.onerror = () => {
          if (source.readyState === EventSource.CLOSED) reject(new Error("closed"));
        };
      }),
    [PROMPT, MODEL] as const,
  );
  expect(pieces).toBeGreaterThan(50);
  expect(text.startsWith("Twice a day the sea leaves")).toBe(true);
});

test("fetch with split, as in the textbook", async ({ page }) => {
  const { text, pieces, done } = await page.evaluate(
    async ([prompt, model]) => {
      const out = { text: "", pieces: 0, done: false };

      const response = await fetch("/api/chat", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ prompt, model }),
      });
      const reader = response.body!.getReader();
      const decoder = new TextDecoder();
      let buffer = "";
      while (true) {
        const { value, done } = await reader.read();
        if (done) break;
        buffer += decoder.decode(value, { stream: true });
        const parts = buffer.split("\n\n");
        buffer = parts.pop()!;
        for (const part of parts) {
          const data = part.replace(/^data: /, "");
          if (data === "[DONE]") {
            out.done = true;
            continue;
          }
          out.text += JSON.parse(data).text;
          out.pieces += 1;
        }
      }
      return out;
    },
    [PROMPT, MODEL] as const,
  );
  expect(done).toBe(true);
  expect(pieces).toBeGreaterThan(50);
  expect(text.startsWith("Twice a day the sea leaves")).toBe(true);
});

test("both snippets give the same text, and so do the client's plain functions", async ({ page, world }) => {
  await library(page);
  const [posted, got, whole] = await page.evaluate(
    async ([prompt, model]) => {
      const client = new tokenwire.Client();
      let posted = "";
      for await (const piece of tokenwire.ask(client, prompt, { model })) posted += piece;
      let got = "";
      await tokenwire.askByEventSource(client, client.platform, prompt, {
        run: tokenwire.randomKey(),
        model,
        onText: (piece) => {
          got += piece;
        },
      });
      const body = { model, messages: [{ role: "user", content: prompt }] };
      const whole = (await client.complete("/v1/chat/completions", body)) as { choices: { message: { content: string } }[] };
      return [posted, got, whole.choices[0]?.message.content] as const;
    },
    [PROMPT, MODEL] as const,
  );
  expect(got).toBe(posted);
  expect(whole).toBe(posted);
  expect(world.url).toBeTruthy();
});

test("leaving the plain loop closes the upstream", async ({ page, world }) => {
  await library(page);
  const before = await world.stats();
  await page.evaluate(async () => {
    for await (const piece of tokenwire.ask(new tokenwire.Client(), "Tell me of the sea.", { model: "sim/claude-sonnet-4-6" })) {
      if (piece !== "") break;
    }
  });
  await expect.poll(async () => (await world.stats()).aborted, { timeout: 20_000 }).toBe(before.aborted + 1);
});

test("a stream is read by fetch and by EventSource alike", async ({ page }) => {
  await library(page);
  const { streamed, events, verdicts } = await page.evaluate(async () => {
    const client = new tokenwire.Client();
    const request = { model: "sim/gpt-4o", messages: [{ role: "user", content: "Tell me of the sea." }] };
    const { id } = await client.start({ dialect: "openai.chat", request });
    const answer = new tokenwire.Answer();
    const reading = (async () => {
      for await (const event of client.followByEventSource(id)) answer.take(event);
    })();
    const streamed = await client.read(id);
    await reading;
    // And from the middle, as after a reload.
    const late = new tokenwire.Answer();
    for await (const event of client.followByEventSource(id, { after: "1-40" })) late.take(event);
    const verdicts = [await client.verify(streamed), await client.verify(answer)];
    return { streamed: streamed.text, events: [answer.text, streamed.text.endsWith(late.text)], verdicts };
  });
  expect(streamed.length).toBeGreaterThan(200);
  expect(events).toEqual([streamed, true]);
  expect(verdicts).toEqual(["verified", "verified"]);
});

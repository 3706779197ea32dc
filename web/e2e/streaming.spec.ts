import { expect, test } from "./world.js";

test("text appears token by token", async ({ playground, page }) => {
  const tokens = 40;
  await playground.knobs({ tokens, ttftMs: 100, intervalMs: 60, seed: 1 });
  // Watched in the page, every 10 ms: how long the text is that can be seen.
  await page.evaluate(() => {
    const seen: [number, number][] = [];
    Object.assign(window, { seen });
    setInterval(() => {
      const length = document.querySelector(".lane.stream [data-test=answer]")?.textContent.length ?? 0;
      if (length > 0 && length !== seen.at(-1)?.[1]) seen.push([performance.now(), length]);
    }, 10);
  });
  await playground.ask("Tell me of the sea.");
  await playground.phase("done");
  const seen = await page.evaluate(() => (window as unknown as { seen: [number, number][] }).seen);
  // At one token every 60 ms nearly each is seen alone; a few frames may be late on a busy machine.
  expect(seen.length).toBeGreaterThan(tokens * 0.8);
  const duration = (seen.at(-1)?.[0] ?? 0) - (seen[0]?.[0] ?? 0);
  expect(duration).toBeGreaterThan((tokens - 1) * 60 * 0.8);
  expect(seen.at(-1)?.[1]).toBe((await playground.truth()).length);
});

test("the text is the relay's, whatever is in it", async ({ playground }) => {
  for (const prompt of ["odd characters", "a table", "some Python code", "Greek, please", "emoji", "a long list"]) {
    await playground.ask(prompt, { model: "sim/instant" });
    await playground.phase("done");
    const truth = await playground.truth();
    expect(truth.length).toBeGreaterThan(20);
    expect(await playground.text()).toBe(truth);
    await expect(playground.lane().locator("[data-test=verdict]")).toContainText("none lost or doubled");
  }
});

test("drawn lines are never touched again", async ({ playground, page }) => {
  await playground.knobs({ tokens: 400, ttftMs: 10, intervalMs: 2, seed: 2 });
  // Lines that another line follows are closed: each is noted as soon as it is seen, and looked at again at the end.
  await page.evaluate(() => {
    const closed = new Map<Element, [node: ChildNode | null, text: string]>();
    const note = (): void => {
      const lines = [...document.querySelectorAll("[data-test=answer] .line")];
      for (const line of lines.slice(0, -1)) {
        if (!closed.has(line)) closed.set(line, [line.firstChild, line.textContent]);
      }
    };
    const report = (): { closed: number; touched: number; inOrder: boolean } => {
      const kept = [...closed];
      const touched = kept.filter(([line, [node, text]]) => !line.isConnected || line.firstChild !== node || line.textContent !== text);
      const now = [...document.querySelectorAll("[data-test=answer] .line")];
      return { closed: kept.length, touched: touched.length, inOrder: kept.every(([line], i) => now[i] === line) };
    };
    Object.assign(window, { report });
    setInterval(note, 10);
  });
  await playground.ask("a long list");
  await playground.phase("done");
  const report = await page.evaluate(() => (window as unknown as { report: () => unknown }).report());
  const lines = await playground.answer().locator(".line").count();
  expect(lines).toBeGreaterThan(3);
  expect(report).toEqual({ closed: lines - 1, touched: 0, inOrder: true });
});

test("stop closes the upstream at once", async ({ playground, page, world }) => {
  await playground.knobs({ tokens: 4000, ttftMs: 50, intervalMs: 20 });
  await playground.ask("Tell me of the sea.");
  await playground.phase("answering");
  const before = await world.stats();
  // One clock for all processes of this machine (CLOCK_MONOTONIC); taken before the key goes down, so the way from here
  // through the browser's own plumbing is in the figure.
  const pressed = process.hrtime.bigint();
  await page.keyboard.press("Escape");
  await playground.phase("stopped");
  let after = await world.stats();
  for (let i = 0; i < 100 && after.aborted === before.aborted; i++) after = await world.stats();
  expect(after.aborted).toBe(before.aborted + 1);
  const milliseconds = (after.last_abort_ns - Number(pressed)) / 1e6;
  console.log(`    the upstream was closed ${milliseconds.toFixed(1)} ms after the key`);
  expect(milliseconds).toBeLessThan(50);
  await expect(playground.lane().locator("[data-test=verdict]")).toContainText("none lost or doubled");
  expect((await playground.text()).length).toBeGreaterThan(0);
});

test("stop before the first token, and of an answer that is not streamed", async ({ playground, page, world }) => {
  await playground.knobs({ tokens: 50, ttftMs: 20_000 });
  await playground.ask("Tell me of the sea.", { mode: "both" });
  await playground.phase("waiting");
  await expect.poll(async () => (await world.stats()).active).toBe(2);
  const before = await world.stats();
  await page.getByRole("button", { name: "Stop" }).click();
  await playground.phase("stopped");
  await playground.phase("stopped", "whole");
  await expect.poll(async () => (await world.stats()).aborted - before.aborted).toBe(2);
  expect((await world.stats()).active).toBe(0);
});

test("the wait is shown: first text against the whole answer", async ({ playground, page }) => {
  await playground.knobs({ tokens: 100, ttftMs: 200, intervalMs: 20, seed: 3 });
  await playground.ask("Tell me of the sea.", { mode: "both" });
  const wait = page.locator("[data-test=wait]");
  await expect(wait).toContainText("Not streamed: still nothing");
  await playground.phase("done");
  await playground.phase("done", "whole");
  await expect(wait).toContainText(/First text after \d+ ms; the whole answer only after \d\.\d+ s: \d+(\.\d)? times the wait/);
  const gauge = async (way: "stream" | "whole", name: string): Promise<string> =>
    (await playground.lane(way).locator(`[data-test=${name}]`).textContent()) ?? "";
  const first = Number.parseFloat(await gauge("stream", "ttft"));
  expect(first).toBeGreaterThanOrEqual(200);
  expect(first).toBeLessThan(700);
  expect(await gauge("stream", "tokens")).toBe("100"); // the provider's count, no estimate any more
  expect(await gauge("whole", "tokens")).toBe("100");
  const total = Number.parseFloat(await gauge("stream", "total"));
  expect(total).toBeGreaterThan(2.1);
  const rate = Number.parseFloat(await gauge("stream", "rate"));
  expect(rate).toBeGreaterThan(35);
  expect(rate).toBeLessThan(55);
  expect(await playground.text("whole")).toBe(await playground.text());
});

import { BreakingLine } from "./proxy.js";
import { Playground, expect, test } from "./world.js";

test("a reload goes on where it was, without loss or repeat", async ({ playground, page }) => {
  const started: string[] = [];
  const cursors: (string | undefined)[] = [];
  page.on("request", (request) => {
    const { pathname } = new URL(request.url());
    if (request.method() === "POST" && pathname === "/v1/streams") started.push(pathname);
    if (pathname.endsWith("/events")) cursors.push(request.headers()["last-event-id"]);
  });
  await playground.knobs({ tokens: 250, ttftMs: 50, intervalMs: 20, seed: 4 });
  await playground.ask("Tell me of the sea.");
  for (let reload = 1; reload <= 3; reload++) {
    const length = (await playground.text()).length;
    await expect.poll(async () => (await playground.text()).length).toBeGreaterThan(length + 60);
    const before = await playground.text();
    const id = await playground.lane().getAttribute("data-stream");
    await page.reload();
    // Drawn at once, from what was kept; then the rest.
    await expect(playground.lane()).toHaveAttribute("data-stream", id ?? "");
    expect((await playground.text()).startsWith(before.slice(0, -1))).toBe(true);
  }
  await playground.phase("done");
  const truth = await playground.truth();
  expect(await playground.text()).toBe(truth);
  await expect(playground.lane().locator("[data-test=verdict]")).toContainText("none lost or doubled");
  expect(started.length).toBe(1);
  expect(cursors.length).toBe(4);
  expect(cursors.slice(1).every((cursor) => /^\d+-\d+/.test(cursor ?? ""))).toBe(true);
  await page.reload(); // what is complete stays
  await playground.phase("done");
  expect(await playground.text()).toBe(truth);
});

test("a reload before the first token attaches to what was begun", async ({ playground, page, world }) => {
  await playground.knobs({ tokens: 20, ttftMs: 1500, intervalMs: 10 });
  const before = await world.stats();
  await playground.ask("Tell me of the sea.", { mode: "both" });
  await playground.phase("waiting");
  await expect.poll(async () => (await world.stats()).active).toBe(2);
  await page.reload();
  await playground.phase("done");
  expect(await playground.text()).toBe(await playground.truth());
  // The other one is gone with its request, and the page says so.
  await playground.phase("lost", "whole");
  await expect(playground.lane("whole").locator("[data-test=failure]")).toContainText("A stream goes on");
  expect((await world.stats()).tokens - before.tokens).toBe(20);
});

test("the time to the first token survives a reload", async ({ playground, page }) => {
  await playground.knobs({ tokens: 100, ttftMs: 150, intervalMs: 20 });
  await playground.ask("Tell me of the sea.");
  await playground.phase("answering");
  const gauge = playground.lane().locator("[data-test=ttft]");
  await expect(gauge).toContainText("ms");
  const before = await gauge.textContent();
  await page.reload();
  await playground.phase("done");
  expect(await gauge.textContent()).toBe(before);
});

test("a line that breaks again and again loses nothing", async ({ page, world }) => {
  const line = new BreakingLine(world.url, [400, 700, 37, 800, 500]);
  try {
    const playground = new Playground(page, { ...world, url: await line.listen() });
    await playground.open();
    await playground.knobs({ tokens: 400, ttftMs: 20, intervalMs: 15, seed: 5 });
    await playground.ask("Tell me of the sea.");
    await playground.phase("done", "stream", 35_000);
    expect(line.streams).toBeGreaterThan(5);
    expect(await playground.text()).toBe(await playground.truth());
    await expect(playground.lane().locator("[data-test=verdict]")).toContainText("none lost or doubled");
    expect(playground.complaints).toEqual([]);
  } finally {
    await page.close();
    await line.close();
  }
});

// The chat's page in a real browser: node chat.mjs URL NODE_MODULES CHROMIUM. Prints what was seen, as JSON.
import { createRequire } from 'node:module';

const [url, modules, executablePath] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/`)('playwright-core');

const browser = await chromium.launch({ executablePath, args: ['--disable-dev-shm-usage', '--no-sandbox'] });
const seen = { complaints: [] };
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(15_000);
  page.on('pageerror', (error) => seen.complaints.push(String(error)));
  await page.addInitScript(() => {
    window.draws = 0;
    const append = CharacterData.prototype.appendData;
    CharacterData.prototype.appendData = function (text) {
      window.draws += 1;
      append.call(this, text);
    };
  });
  const live = page.locator('p.live');
  const longer = (length) =>
    page.waitForFunction((least) => document.querySelector('p.live')?.textContent.length > least, length);
  const turns = (number) =>
    page.evaluate(async (least) => {
      for (;;) {
        const found = await (await fetch('/turns')).json();
        if (found.length >= least) return found;
      }
    }, number);

  await page.goto(url);
  await page.getByRole('button', { name: 'Ask' }).click();
  await longer(60);
  seen.cursor = await live.evaluate((element) => getComputedStyle(element, '::after').animationName);
  seen.before = await live.textContent();
  await page.reload();
  await longer(seen.before.length);
  await page.locator('p.answer').waitFor();
  await turns(1);
  await page.waitForFunction((length) => document.querySelector('p.answer').textContent.length >= length, (await turns(1))[0].answer.length);
  seen.whole = await page.locator('p.answer').textContent();
  seen.draws = await page.evaluate(() => window.draws);

  await page.getByRole('textbox').fill('Tell me of the sea.');
  await page.getByRole('button', { name: 'Ask' }).click();
  await longer(30);
  await page.getByRole('button', { name: 'Stop' }).click();
  await live.waitFor({ state: 'detached' });
  seen.turns = await turns(2);
  seen.stopped = await page.locator('p.answer').last().textContent();
  seen.problems = await page.locator('p.problem').allTextContents();
  await page.reload();
  await page.locator('p.answer').nth(1).waitFor();
  seen.again = await page.locator('main p').allTextContents();
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));

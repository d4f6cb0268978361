// Drives a real browser over the page of a running instance, and holds each story to what every view owes: no word on the console, no host but
// its own, nothing serious that axe finds. Who starts it says by its environment where the instance is, and does what a line that begins with `> `
// asks for: stops a backend, starts the instance anew.
import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import axe from 'axe-core';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';

export const ADMIN = told('EVENKEEL_ADMIN');
export const WEB = told('EVENKEEL_WEB');
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const SHOTS = process.env.EVENKEEL_SHOTS;
const root = process.getuid?.() === 0;

/** How long something may take to come: a machine that does much else is slow, and nothing here is decided by how slow. */
export const PATIENCE_MS = 60_000;

export function told(name: string): string {
  const value = process.env[name];
  assert.ok(value, `${name} is to say`);
  return value;
}

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Has something done, and waits until it is. */
export async function does(what: string): Promise<void> {
  console.log(`> ${what}`);
  const { value, done } = await answers.next();
  assert.ok(!done && value === 'done', `${what}: ${value}`);
}

/** A request to the instance, which goes on whatever becomes of it. */
export async function ask(path: string): Promise<string> {
  const answer = await fetch(WEB + path).catch(() => null);
  return answer ? (await answer.text()).trim() : '';
}

/** So few that what is remembered of them is there for a while. */
const PAUSE_MS = 200;

/** Requests, one after the other, until the story ends. */
export function traffic(paths: string[]): () => Promise<void> {
  let goes = true;
  const ended = (async () => {
    for (let at = 0; goes; at++) {
      await ask(paths[at % paths.length]!);
      await new Promise((done) => setTimeout(done, PAUSE_MS));
    }
  })();
  return async () => {
    goes = false;
    await ended;
  };
}

/** A page with all that is wrong about it. */
export class Watched {
  readonly page: Page;
  readonly wrong: string[] = [];
  /** Requests to the API, with the bytes of their answers. */
  readonly asked: { path: string; bytes: number }[] = [];

  /** `expected`: what the console may say all the same, such as that an answer was a refusal. */
  constructor(page: Page, expected: RegExp[]) {
    this.page = page;
    page.setDefaultTimeout(PATIENCE_MS);
    page.on('console', (said) => {
      const text = `${said.type()}: ${said.text()}`;
      const quiet = ['log', 'debug', 'info'].includes(said.type()) || expected.some((one) => one.test(text));
      if (!quiet) this.wrong.push(text);
    });
    page.on('pageerror', (error) => this.wrong.push(String(error)));
    page.on('request', (request) => {
      const url = new URL(request.url());
      if (url.protocol !== 'data:' && url.origin !== ADMIN) this.wrong.push(`asked ${url}`);
    });
    page.on('response', (answer) => {
      const url = new URL(answer.url());
      if (!url.pathname.startsWith('/v1/')) return;
      this.asked.push({ path: url.pathname + url.search, bytes: Number(answer.headers()['content-length'] ?? 0) });
    });
  }

  async open(view = ''): Promise<void> {
    await this.page.goto(`${ADMIN}/#${view}`);
  }

  /** Goes to a view as a person does, by its link. */
  async view(title: string): Promise<void> {
    await this.page.getByRole('navigation').getByRole('link', { name: title, exact: true }).click();
    await this.page.getByRole('heading', { level: 1, name: title }).waitFor();
  }

  /** Waits for a text, wherever it stands. */
  async shows(text: string | RegExp): Promise<void> {
    await this.page.getByText(text).filter({ visible: true }).first().waitFor();
  }

  /** What axe finds that hinders somebody seriously. */
  async axe(where: string): Promise<void> {
    await this.page.evaluate(axe.source);
    const found = await this.page.evaluate(async () => {
      const run = (globalThis as unknown as { axe: { run: () => Promise<axe.AxeResults> } }).axe.run;
      const { violations } = await run();
      return violations.map(({ id, impact, nodes }) => ({ id, impact, html: nodes.map((node) => node.html).slice(0, 3) }));
    });
    const serious = found.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    assert.deepEqual(serious, [], where);
  }

  /** Each part of a table says which one it is, whatever the style makes of it. */
  async tables(where: string): Promise<void> {
    const parts = this.page.locator('table, tbody, tr, th, td');
    const silent = await parts.evaluateAll((all) => all.filter((part) => !part.hasAttribute('role')).map((part) => part.outerHTML));
    assert.deepEqual(silent.slice(0, 3), [], where);
  }

  async shot(name: string): Promise<void> {
    if (SHOTS) await this.page.screenshot({ path: `${SHOTS}/${name}.png`, fullPage: true });
  }

  /** It has nothing to scroll sideways for. */
  async fits(where: string): Promise<void> {
    const [needs, has] = await this.page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(needs! <= has!, `${where}: ${needs} px wide, of ${has}`);
  }
}

/** Runs a story, and fails where it does, or where anything of the page was wrong. */
export async function story(
  tell: (open: (options?: BrowserContextOptions, expected?: RegExp[]) => Promise<Watched>) => Promise<void>,
): Promise<void> {
  const browser: Browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ['--no-proxy-server', '--disable-gpu', ...(root ? ['--no-sandbox'] : [])],
  });
  const all: Watched[] = [];
  try {
    await tell(async (options = {}, expected = []) => {
      const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
      const watched = new Watched(await context.newPage(), expected);
      all.push(watched);
      return watched;
    });
    for (const { wrong } of all) assert.deepEqual(wrong, []);
  } catch (error) {
    for (const [at, watched] of all.entries()) {
      console.error(watched.wrong.join('\n'));
      console.error(await watched.page.locator('body').innerText({ timeout: 1000 }).catch(() => 'the page shows nothing'));
      await watched.shot(`failed-${process.argv[1]?.split('/').at(-1)}-${at}`).catch(() => {});
    }
    throw error;
  } finally {
    await browser.close();
  }
  // Whoever started it may leave the line open.
  process.exit(0);
}

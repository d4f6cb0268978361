// A backend dies: the page shows it before its next poll would, by the event alone. The page's own clock stands still meanwhile, but for the
// moments between polls that events ask for.
import assert from 'node:assert/strict';
import { ADMIN, does, PATIENCE_MS, story, traffic } from './drive.ts';

/** Of the page's clock, below two seconds: a poll comes every two. */
const STEPS = 15;
const STEP_MS = 100;

interface Page {
  items: { kind: string; to?: string; backend?: string; at_seconds: number }[];
}

await story(async (open) => {
  const at = await open();
  const { page } = at;
  await page.clock.install();
  await at.open();
  await at.shows('Nothing is.');
  await page.getByText('● live').waitFor();
  // From here on no poll comes by itself.
  await page.clock.pauseAt(Date.now() + 3_600_000);
  await page.waitForLoadState('networkidle');
  const end = traffic(['/who']);
  await does('stop one');
  let event: Page['items'][number] | undefined;
  for (const until = Date.now() + PATIENCE_MS; !event && Date.now() < until; ) {
    const events = (await (await fetch(`${ADMIN}/v1/events`)).json()) as Page;
    event = events.items.find((one) => one.backend === 'one' && one.kind === 'standing_changed' && one.to !== 'serving');
  }
  assert.ok(event, 'the instance tells of it');
  const row = page.getByText(/^api \/ one is (down|ejected|probing)$/);
  let steps = 0;
  for (; steps < STEPS && !(await row.isVisible()); steps++) {
    await page.clock.runFor(STEP_MS);
    await row.waitFor({ timeout: 2_000 }).catch(() => {});
  }
  assert.ok(await row.isVisible(), `not shown within ${STEPS * STEP_MS} ms of the page's clock`);
  console.log(`shown ${Math.round(Date.now() - event.at_seconds * 1000)} ms after it happened, and ${steps * STEP_MS} ms by the page's clock`);
  await end();
});

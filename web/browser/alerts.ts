// Something fails: an alert says so, somebody takes note by keyboard, silences it and lifts that; figures agree with the API, a message that nobody took is
// told again, and what is recommended is applied.
import assert from 'node:assert/strict';
import { ADMIN, ask, story, traffic } from './drive.ts';

/** So many are enough for advice of deadlines. */
const REQUESTS = 1_200;
const AT_ONCE = 20;

async function api<T>(path: string): Promise<T> {
  return (await (await fetch(ADMIN + path)).json()) as T;
}

/** How often the instance has looked at itself. */
async function looks(): Promise<number> {
  const metrics = await (await fetch(`${ADMIN}/metrics`)).text();
  return Number(/^evenkeel_monitoring_looks_total (\d+)$/m.exec(metrics)?.[1]);
}

interface Figures {
  window_seconds: number;
  requests: number;
  mean_ms: number;
  p50_ms: number;
  p95_ms: number;
  p99_ms: number;
  error_rate: number;
  availability: number;
}

interface Windows {
  service: { windows: Figures[] };
}

await story(async (open) => {
  // Each answer is as fast as it can be: what is advised of deadlines follows.
  let left = REQUESTS;
  const some = async () => {
    while (left-- > 0) await ask('/who');
  };
  await Promise.all(Array.from({ length: AT_ONCE }, some));
  const ends = [1, 2, 3, 4].map(() => traffic(['/boom']));
  const at = await open();
  const { page } = at;
  await at.open('alerts');
  await at.shows('threshold error rate');
  const row = page.getByRole('row', { name: /threshold error rate/ }).filter({ hasText: 'nobody has taken note' });
  await row.waitFor();
  const number = await row.getByRole('rowheader').innerText();
  await row.getByText(/% against 0?\.?5.*of .* requests over/).waitFor();

  const note = page.getByRole('button', { name: `Take note of alert ${number}` });
  await note.focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: `take note of alert ${number}?` }).waitFor();
  await page.keyboard.press('Enter');
  await at.shows(`Done: take note of alert ${number}.`);
  const noted = page.getByRole('row', { name: /threshold error rate/ }).filter({ hasText: 'noted by' });
  await noted.waitFor();

  await at.view('Overview');
  await at.shows('api: threshold error rate');
  await at.view('Alerts');
  await page.getByRole('button', { name: `Silence alert ${number}`, exact: true }).click();
  await page.getByLabel('For').selectOption('600');
  await page.getByLabel('Why').fill('planned work');
  await page.getByRole('dialog').getByRole('button', { name: `silence alert ${number}` }).click();
  await at.shows(`Done: silence alert ${number}.`);
  await noted.filter({ hasText: 'silenced' }).waitFor();
  await page.getByRole('table', { name: 'Silences' }).getByText('planned work').waitFor();
  await at.axe('alerts');
  await at.tables('alerts');
  // Who is not called for it does not see it among what is broken.
  await at.view('Overview');
  await page.getByText('api: threshold error rate').waitFor({ state: 'detached' });
  await at.shows('Alerts that are silenced: 1.');
  await at.view('Alerts');
  await page.getByRole('button', { name: /^Lift silence/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: /^lift silence/ }).click();
  await at.shows('None: whoever is to be called is.');

  // Nobody is where messages go.
  await page.getByRole('row', { name: /^ops .*failing/ }).waitFor();
  const letter = page.getByRole('table', { name: 'Messages that could not be told' }).getByRole('button').first();
  const told = (await letter.getAttribute('aria-label'))!;
  await letter.click();
  await page.getByRole('dialog').getByRole('button', { name: told.toLowerCase() }).click();
  await at.shows(`Done: ${told.toLowerCase()}.`);

  await Promise.all(ends.map((end) => end()));
  await at.view('Performance');
  await page.getByLabel('Service').selectOption('api');
  // All that has ended is taken in by the second look from here; from then on the hour stands still.
  const before = await looks();
  while ((await looks()) < before + 2);
  const { service } = await api<Windows>('/v1/services/api/performance');
  const hour = service.windows.find((one) => one.window_seconds === 3600)!;
  assert.ok(hour.requests > REQUESTS, `${hour.requests} requests`);
  const row1h = page.getByRole('table', { name: 'Figures of api by window' }).getByRole('row', { name: /^1 h / });
  await row1h.getByText(hour.requests.toLocaleString('en'), { exact: true }).waitFor();
  const cells = await row1h.getByRole('cell').allInnerTexts();
  const percent = (share: number) => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
  const ms = (value: number) => (value >= 10 ? `${value.toFixed(0)} ms` : `${value.toFixed(1)} ms`);
  assert.deepEqual(cells.slice(2), [ms(hour.mean_ms), ms(hour.p50_ms), ms(hour.p95_ms), ms(hour.p99_ms), percent(hour.error_rate), percent(hour.availability)]);
  await page.getByRole('row', { name: /^one .*50 % \/ 50 %/ }).waitFor();
  await page.getByRole('button', { name: 'Adjust now' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'adjust weights of api now' }).click();
  await at.shows('Done: adjust weights of api now.');
  await at.axe('performance');
  await at.tables('performance');

  await at.view('Recommendations');
  const late = page.getByRole('row', { name: /deadline too long/ });
  await late.getByText(/per try 10 s, p99/).waitFor();
  await page.getByRole('button', { name: 'Apply deadline_too_long:services.api' }).click();
  await page.getByRole('dialog').getByText('"per_try"').waitFor();
  await page.getByRole('dialog').getByRole('button', { name: 'apply deadline_too_long:services.api' }).click();
  await at.shows('Done: apply deadline_too_long:services.api.');
  await late.waitFor({ state: 'detached' });
  await at.axe('recommendations');
  await at.view('Revisions');
  await at.shows('2 (runs)');

  const phone = await open({ colorScheme: 'dark', viewport: { width: 360, height: 740 } });
  await phone.open();
  for (const [title, text] of [
    ['Alerts', 'Who is told'],
    ['Performance', 'Weights that follow'],
    ['Recommendations', 'single point of failure'],
  ] as const) {
    await phone.view(title);
    await phone.shows(text);
    await phone.fits(title);
    await phone.tables(title);
    await phone.axe(title);
    await phone.shot(`${title.toLowerCase()}-dark-phone`);
    await at.view(title);
    await at.shows(text);
    await at.shot(`${title.toLowerCase()}-light`);
  }
});

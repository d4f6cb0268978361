// A thousand backends of a hundred services: what is asked and what is shown stays bounded, and a fault in any of them is seen.
import assert from 'node:assert/strict';
import { ADMIN, story } from './drive.ts';

/** Of one poll: version, services, certificates, limits, alerts, and backends of twelve services. */
const ASKED = 17;
const BYTES = 600_000;

await story(async (open) => {
  const at = await open();
  const { page } = at;
  await page.clock.install();
  await at.open();
  await at.shows('Backends: 1,000. Services: 100.');
  await page.getByText('● live').waitFor();
  await page.clock.pauseAt(Date.now() + 3_600_000);
  await page.waitForLoadState('networkidle');
  // Two ticks: one poll may be on its way at the first.
  for (let tick = 0; tick < 2; tick++) {
    const answer = page.waitForResponse((one) => one.url().includes('/backends'));
    at.asked.length = 0;
    await page.clock.runFor(2_000);
    await answer;
    await page.waitForLoadState('networkidle');
  }
  const bytes = at.asked.reduce((sum, one) => sum + one.bytes, 0);
  console.log(`a poll: ${at.asked.length} requests, ${bytes} bytes`);
  assert.ok(at.asked.length > 0 && at.asked.length <= ASKED, `${at.asked.length} requests: ${at.asked.map((one) => one.path)}`);
  assert.ok(bytes <= BYTES, `${bytes} bytes`);
  await page.clock.resume();
  await at.view('Services');
  await at.shows('1,000 of 1,000 backends');
  const rows = page.getByRole('main').getByRole('row');
  assert.equal(await rows.count(), 51);
  await page.getByRole('button', { name: 'Next' }).click();
  await at.shows('Page 2 of 20');
  await page.getByLabel('Service, backend, reason').fill('s42');
  await at.shows('10 of 1,000 backends');
  await at.axe('a crowd');
  await at.fits('a crowd');
  await at.view('Overview');
  const answer = await fetch(`${ADMIN}/v1/services/s77/backends/b3/disable`, { method: 'POST', headers: { 'X-Evenkeel': '1', 'If-Match': '*' } });
  assert.equal(answer.status, 200);
  await at.shows('s77 / b3 is disabled');
});

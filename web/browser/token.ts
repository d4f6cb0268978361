// Who has a token that only looks is offered nothing to do, and what it forges is refused.
import assert from 'node:assert/strict';
import { ADMIN, ask, does, story, told } from './drive.ts';

const REFUSED = /status of 40[13]/;

await story(async (open) => {
  const at = await open({}, [REFUSED]);
  const { page } = at;
  await at.open('services');
  const enter = async (token: string) => {
    await page.getByLabel('Token').fill(token);
    await page.getByRole('button', { name: 'Log in' }).click();
  };
  await page.getByLabel('Token').waitFor();
  await at.axe('log-in');
  await at.shot('login');
  await enter('nobody');
  await at.shows('This token is not known, or has ended.');
  const viewer = told('EVENKEEL_VIEWER');
  assert.match(await ask('/who'), /one|two/);
  const own = { Authorization: `Bearer ${told('EVENKEEL_OPERATOR')}`, 'X-Evenkeel': '1', 'If-Match': '*' };
  const silence = await fetch(`${ADMIN}/v1/silences`, { method: 'POST', headers: own, body: JSON.stringify({ for_seconds: 600, why: 'somebody works on it' }) });
  assert.equal(silence.status, 200);
  await enter(viewer);
  await page.getByRole('row', { name: /^api one / }).waitFor();
  await page.getByRole('button', { name: 'api', exact: true }).first().click();
  const offered = page.getByRole('main').getByRole('button').filter({ hasNotText: /^api$/ });
  assert.equal(await offered.count(), 0, 'buttons');
  assert.equal(await page.getByRole('combobox', { name: /^(Action|Policy)/ }).count(), 0, 'actions');
  for (const [view, text] of [['Alerts', 'somebody works on it'], ['Performance', 'Weights that follow'], ['Recommendations', 'single point of failure']] as const) {
    await at.view(view);
    await at.shows(text);
    assert.equal(await page.getByRole('main').getByRole('button').count(), 0, view);
    const offers = page.getByRole('main').getByRole('combobox');
    assert.equal(await offers.count(), view === 'Performance' ? 1 : 0, `${view}: what is chosen is whose figures are shown`);
  }
  await at.view('Revisions');
  await at.shows('1 (runs)');
  assert.equal(await page.getByRole('button', { name: /^Roll back/ }).count(), 0);
  // What the page does not offer is refused, and changes nothing.
  const forged = await page.evaluate(async (token) => {
    const headers = { Authorization: `Bearer ${token}`, 'X-Evenkeel': '1', 'If-Match': '*' };
    const answer = await fetch('/v1/services/api/backends/one/drain', { method: 'POST', headers });
    return answer.status;
  }, viewer);
  assert.equal(forged, 403);
  await at.view('Services');
  await page.getByRole('row', { name: /^api one .*serving/ }).waitFor();
  // A token is kept until the tab is closed, and nowhere else.
  await page.reload();
  await page.getByRole('row', { name: /^api one / }).waitFor();
  assert.deepEqual(await page.evaluate(() => [localStorage.length, document.cookie]), [0, '']);
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.getByLabel('Token').waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await enter(told('EVENKEEL_OPERATOR'));
  await at.view('Alerts');
  await page.getByRole('button', { name: /^Lift silence/ }).waitFor();
  await at.view('Services');
  const action = page.getByRole('combobox', { name: 'Action for one of api' });
  await action.waitFor();
  // Who is allowed less meanwhile is refused once, and offered nothing from then on.
  await does('narrow');
  await action.selectOption('drain');
  await page.getByRole('button', { name: 'drain one of api' }).click();
  await page.getByRole('dialog').getByRole('alert').filter({ hasText: /\w/ }).waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await action.waitFor({ state: 'detached' });
  // Nothing of another origin is read by who has no token.
  const status = (await fetch(`${ADMIN}/v1/services`)).status;
  assert.equal(status, 401);
});

// By keyboard alone: a backend is drained, and gets nothing any more; a weight and another backend by their forms.
import assert from 'node:assert/strict';
import { ask, PATIENCE_MS, story } from './drive.ts';

/** Who answers thirty requests. */
async function answering(): Promise<string[]> {
  const names = new Set<string>();
  for (let at = 0; at < 30; at++) names.add(await ask('/who'));
  return [...names].sort();
}

await story(async (open) => {
  assert.deepEqual(await answering(), ['one', 'two']);
  // The one that is refused.
  const at = await open({}, [/status of 422/]);
  const { page } = at;
  await at.open('services');
  const action = page.getByRole('combobox', { name: 'Action for one of api' });
  await action.focus();
  // Nothing is done by closing what asks.
  await page.keyboard.press('d');
  await page.getByRole('heading', { name: 'drain one of api?' }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  assert.deepEqual(await answering(), ['one', 'two']);
  await action.focus();
  await page.keyboard.press('d');
  const confirm = page.getByRole('button', { name: 'drain one of api' });
  await confirm.waitFor();
  assert.ok(await confirm.evaluate((button) => button === document.activeElement), 'the button is where the keyboard is');
  await page.keyboard.press('Enter');
  await at.shows('Done: drain one of api.');
  await page.getByRole('row', { name: /^api one .*draining/ }).waitFor();
  assert.deepEqual(await answering(), ['two']);
  await at.axe('a backend that drains');

  await action.selectOption('enable');
  await page.getByRole('button', { name: 'enable one of api' }).click();
  await at.shows('Done: enable one of api.');
  assert.deepEqual(await answering(), ['one', 'two']);

  await action.selectOption('weight');
  await page.getByRole('spinbutton', { name: 'Weight' }).fill('0');
  await at.axe('a form');
  await page.getByRole('button', { name: 'weight of one of api' }).click();
  await at.shows('Done: weight of one of api.');
  assert.deepEqual(await answering(), ['two']);

  await page.getByRole('button', { name: 'api', exact: true }).first().click();
  await page.getByRole('button', { name: 'Add backend' }).click();
  await page.getByRole('textbox', { name: 'Address, like' }).fill(process.env.EVENKEEL_THIRD!);
  await page.getByRole('textbox', { name: 'Id;' }).fill('three');
  await page.getByRole('button', { name: 'add a backend to api' }).click();
  await at.shows('Done: add a backend to api.');
  await page.getByRole('row', { name: /^api three / }).waitFor({ timeout: PATIENCE_MS });
  assert.deepEqual(await answering(), ['three', 'two']);

  // What the server refuses is said, and nothing is done.
  await page.getByRole('button', { name: 'Add backend' }).click();
  await page.getByRole('textbox', { name: 'Address, like' }).fill('no address');
  await page.getByRole('button', { name: 'add a backend to api' }).click();
  await page.getByRole('dialog').getByRole('alert').filter({ hasText: /\w/ }).waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();

  // Back to where it was, by the revisions.
  await at.view('Revisions');
  await page.getByRole('button', { name: 'Compare 1 with what runs' }).click();
  await at.page.getByRole('table', { name: 'What lies between' }).getByText(/three/).first().waitFor();
  await page.getByRole('button', { name: 'Roll back to 1', exact: true }).click();
  await page.getByRole('button', { name: 'roll back to 1', exact: true }).last().click();
  await at.shows('Done: roll back to 1.');
  assert.deepEqual(await answering(), ['one', 'two']);
});

// Every view, with live traffic: light and wide, dark and as narrow as a phone.
import { story, traffic, type Watched } from './drive.ts';

/** What a view shows of this instance, once it has read it. */
const VIEWS: [string, (string | RegExp)[], ((at: Watched) => Promise<void>)?][] = [
  ['Overview', ['What is broken', 'bad / dead is ejected', 'Requests per second', /^Time of an exchange p50 .* ms, p95 .* ms, p99 .* ms$/]],
  ['Services', ['5 of 5 backends', 'consecutive failures', /^\d+ % \/ 50 %$/]],
  ['Events', ['breaker opened', 'bad / dead']],
  ['Failed requests', ['connect failed'], whyThere],
  ['Rules', ['bad ones', 'all the rest', /prefix/], whereTo],
  ['Certificates', ['a.example', 'secure']],
  ['Revisions', ['1 (runs)']],
  ['Limits', ['client connections']],
  ['Alerts', ['Silences', 'Who is told']],
  ['Performance', ['Backends over the last minute', 'Weights that follow']],
  ['Recommendations', ['Nothing is done by itself']],
];

async function whyThere(at: Watched): Promise<void> {
  await at.page.getByRole('button', { name: /^why there: / }).first().click();
  await at.shows('Decision 1, after');
  await at.shows(/Ended after .* ms: connect failed/);
  await at.page.getByRole('table', { name: 'Who could have got it' }).first().getByText('dead').waitFor();
}

async function whereTo(at: Watched): Promise<void> {
  await at.page.getByLabel('URL').fill('http://a.example/who');
  await at.page.getByLabel('Header fields').fill('Accept: text/plain');
  await at.page.getByLabel('Listener').selectOption('web');
  await at.page.getByRole('button', { name: 'Explain' }).click();
  await at.shows('Forwarded: the backend gets /who.');
  await at.shows(/^Rule all the rest holds/);
  await at.shows('At listener web, from 127.0.0.1');
}

await story(async (open) => {
  const end = traffic(['/who', '/who', '/bad/x']);
  for (const [name, options] of [
    ['light', { colorScheme: 'light' }],
    ['dark-phone', { colorScheme: 'dark', viewport: { width: 360, height: 740 } }],
  ] as const) {
    const at = await open(options);
    await at.open();
    for (const [title, texts, then] of VIEWS) {
      await at.view(title);
      for (const text of texts) await at.shows(text);
      await then?.(at);
      await at.fits(`${title}, ${name}`);
      await at.tables(`${title}, ${name}`);
      await at.axe(`${title}, ${name}`);
      await at.shot(`${title.toLowerCase().replaceAll(' ', '-')}-${name}`);
      console.log(`${title}, ${name}`);
    }
  }
  await end();
});

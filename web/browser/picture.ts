// A picture of the overview over the demo, for the README: after so long that there is something to see.
import { story, told } from './drive.ts';

const LOOKS_MS = 45_000;

await story(async (open) => {
  const at = await open({ colorScheme: 'light', viewport: { width: 1100, height: 560 } });
  await at.open();
  await at.shows('Time of an exchange');
  await at.page.waitForTimeout(LOOKS_MS);
  // Something is broken on a schedule, and that is what the page is for.
  await at.shows(/^demo \/ shaky is /);
  await at.page.screenshot({ path: told('EVENKEEL_PICTURE') });
});

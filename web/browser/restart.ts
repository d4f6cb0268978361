// The instance ends and comes back: the page says so, and goes on by itself.
import { does, story } from './drive.ts';

const AWAY = /ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING|SOCKET_NOT_CONNECTED)/;

await story(async (open) => {
  const at = await open({}, [AWAY]);
  await at.open();
  await at.shows('Nothing is.');
  await at.shows('● live');
  await does('kill');
  await at.shows(/The server does not answer/);
  await at.shows('Not known: the server has not told.');
  await does('start');
  await at.shows(/The server began anew/);
  await at.shows('Nothing is.');
  await at.shows('● live');
  await at.view('Events');
  await at.shows('started');
});

import { expect, test } from 'vitest';
import { action, attempt, outcome, type Candidate, type Decision, type Explanation } from './explained';

const candidate = (backend: string, excluded: string | null = null): Candidate => ({
  backend,
  standing: 'serving',
  tier: 0,
  zone: null,
  excluded,
  score: 1,
  share: 1,
  in_flight: 0,
});
const decision: Decision = {
  service: 'api',
  policy: 'least_time',
  rung: 'proven',
  backend: 'one',
  refusal: null,
  candidates: [candidate('one'), candidate('two'), candidate('three', 'tried')],
  candidates_all: 3,
  key: null,
  affinity: null,
  trial: false,
  waits: false,
};

test.each([
  ['a choice', {}, 'one of api: by least time among 2'],
  ['no choice', { candidates: [candidate('one')] }, 'one of api: the only one that may be picked'],
  ['a trial', { trial: true }, 'one of api: the trial of a breaker that is half open'],
  ['a client that is kept', { affinity: { by: 'cookie', kept: true } }, 'one of api: its client is kept there by cookie'],
  ['nobody', { backend: null, refusal: 'all_tried' }, 'Nobody of api: all tried'],
])('whom it went to: %s', (_, more, said) => expect(outcome({ ...decision, ...more })).toBe(said));

test('what came of an attempt', () => {
  expect(attempt(decision)).toBe('');
  expect(attempt({ ...decision, attempt: null })).toBe('No attempt was made.');
  const made = { ended_ms: 1.25, connect_ms: null, head_ms: null, status: null, reason: 'connect_failed' };
  expect(attempt({ ...decision, attempt: made })).toBe('Ended after 1.3 ms: connect failed.');
  expect(attempt({ ...decision, attempt: { ...made, status: 503 } })).toBe('Ended after 1.3 ms: 503.');
});

test('what is done with a request', () => {
  const said = { listener: 'web', client: '::1', rule: null, passed: [], passed_all: 0, limits: [] };
  const done = (more: Partial<Explanation> & { action: string }) => action({ ...said, ...more });
  expect(done({ action: 'forward', forwarded: { path: '/a', query: 'b=1', host: 'c' } })).toBe('Forwarded: the backend gets /a?b=1 of host c.');
  expect(done({ action: 'redirect', status: 302, location: '/x' })).toBe('Redirected with 302 to /x.');
  expect(done({ action: 'refuse', status: 404, reason: 'no_rule' })).toBe('Answered here with 404, no rule.');
});

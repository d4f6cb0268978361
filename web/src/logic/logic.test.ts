import { describe, expect, test } from 'vitest';
import type { Alert, Event, Service, Version } from '../api/types';
import { duration, figure, milliseconds, percent, perSecond } from './format';
import { kept, quantile, rate, read, unknown } from './rates';
import { backoff_ms, StreamParser } from './stream';
import { told } from './trends';
import { troubles, type Seen } from './troubles';

const nothing: Seen = {
  services: [],
  backends: new Map(),
  certificates: [],
  limits: [],
  version: null,
  events: [],
  alerts: [],
  now_seconds: 100,
};

test.each([
  ['rises', { requests: 10, errors: 1 }, { requests: 30, errors: 2 }, 10, 0.5],
  ['rests', { requests: 10, errors: 1 }, { requests: 10, errors: 1 }, 0, 0],
  ['falls: a restart', { requests: 10, errors: 1 }, { requests: 4, errors: 0 }, null, null],
  ['errors fall alone', { requests: 10, errors: 1 }, { requests: 12, errors: 0 }, null, null],
])('a counter %s', (_, before, after, requests, errors) => {
  const durations = new Map();
  const found = rate({ at_ms: 0, durations, ...before }, { at_ms: 2000, durations, ...after });
  expect(found).toEqual({ ...unknown(2000), requests, errors });
});

test('no time between readings is no rate', () => {
  const reading = { at_ms: 5, requests: 1, errors: 0, durations: new Map() };
  expect(rate(reading, reading).requests).toBeNull();
});

test('requests are exchanges, errors 5xx and none', () => {
  const service = { reasons: { served: 7, no_answer: 1 }, answers: { '2xx': 5, '5xx': 2, none: 1 }, durations: [] };
  expect(read([service as unknown as Service], 1)).toEqual({ at_ms: 1, requests: 8, errors: 3, durations: new Map() });
});

describe('quantiles of what lies between two readings', () => {
  const service = (...durations: [number | null, number, number][]) =>
    ({ reasons: {}, answers: {}, durations: durations.map(([most_ms, above_ms, exchanges]) => ({ most_ms, above_ms, exchanges })) }) as unknown as Service;
  const reading = (...services: Service[]) => read(services, 0).durations;

  test('of several services together, without what was before', () => {
    const before = reading(service([10, 5, 100]));
    const after = reading(service([10, 5, 150], [50, 25, 30]), service([10, 5, 20]));
    // 70 from 5 to 10 ms, 30 from 25 to 50.
    expect(quantile(before, after, 0.35)).toBeCloseTo(7.5);
    expect(quantile(before, after, 0.7)).toBeCloseTo(10);
    expect(quantile(before, after, 0.85)).toBeCloseTo(37.5);
    expect(quantile(before, after, 1)).toBeCloseTo(50);
  });

  test('nothing between is no time, and what has no bound is as long as is known', () => {
    const same = reading(service([10, 5, 100]));
    expect(quantile(same, same, 0.5)).toBeNull();
    expect(quantile(new Map(), reading(service([null, 10_000, 3])), 0.99)).toBe(10_000);
  });
});

test('the oldest goes', () => expect(kept([1, 2, 3], 4, 3)).toEqual([2, 3, 4]));

test('formats say nothing of what is unknown', () => {
  for (const format of [duration, milliseconds, percent, perSecond]) {
    expect(format(null)).toBe('–');
    expect(format(Number.NaN)).toBe('–');
  }
  expect([duration(59), duration(60), duration(7200), duration(200_000)]).toEqual(['59 s', '1 min', '2 h', '2 d']);
  expect([milliseconds(1.25), milliseconds(99), milliseconds(1500)]).toEqual(['1.3 ms', '99 ms', '1.5 s']);
  expect([percent(0), percent(0.333), percent(0.005)]).toEqual(['0 %', '33 %', '0.5 %']);
});

describe('the event stream', () => {
  const text = ': hello\r\nid: 7\r\nevent: gap\r\ndata: {"a":\r\ndata: 1}\r\n\r\nid: 8\ndata: x\n\n';
  const wanted = [
    { id: '7', type: 'gap', data: '{"a":\n1}' },
    { id: '8', type: 'message', data: 'x' },
  ];
  test.each([1, 2, 3, 5, 100])('in pieces of %i', (size) => {
    const parser = new StreamParser();
    const said = [];
    for (let at = 0; at < text.length; at += size) said.push(...parser.feed(text.slice(at, at + size)));
    expect(said).toEqual(wanted);
    expect(parser.id).toBe('8');
  });
  test('a line without end is refused', () => {
    expect(() => new StreamParser().feed('x'.repeat(2 ** 20 + 1))).toThrow();
  });
  test('data without end is refused', () => {
    expect(() => new StreamParser().feed(`data: ${'x'.repeat(1000)}\n`.repeat(1100))).toThrow();
  });
});

test('waits grow, and end growing', () => {
  expect([backoff_ms(0, 1), backoff_ms(1, 0), backoff_ms(99, 1)]).toEqual([500, 500, 15_000]);
});

test('errors stand before warnings, and what is refused or not kept is told until it is mended', () => {
  const event = (kind: string) => ({ kind, at_seconds: 90, level: 'error', number: 1, detail: 'a typo' }) as Event;
  const limits = [{ limit: 'in_flight', of: 'service', name: 'a', used: 9, most: 10 }];
  const configured = (configuration: object) => ({ configuration }) as unknown as Version;
  const version = configured({ reload_refused: true, files_refused: false, kept: 'disk' });
  const seen = troubles({ ...nothing, limits, version, events: [event('reload_refused')] });
  expect(seen.map((one) => [one.level, one.seconds, one.why])).toEqual([['error', 10, 'a typo'], ['warning', null, '9 of 10 in use (90 %)']]);
  const fine = configured({ reload_refused: false, files_refused: false, kept: 'memory' });
  expect(troubles({ ...nothing, version: fine, events: [event('reload_refused')] })).toEqual([]);
  const failing = troubles({ ...nothing, version: configured({ kept: 'failing', files_refused: true }), events: [event('overlay_failing')] });
  expect(failing.map((one) => one.what)).toEqual(['a certificate or the tokens were refused', 'the disk does not take changes']);
});

test('an open alert is broken, unless somebody silenced it or its backend says so', () => {
  const alert = { number: 7, service: 'api', kind: 'threshold', metric: 'p95', severity: 'critical', state: 'open', since_seconds: 40, flapping: false, silenced: false } as Alert;
  const evidence = { value: 0.3, limit: 0.1, unit: 'seconds', requests: 900, over_seconds: 60 };
  const of = (...alerts: Alert[]) => troubles({ ...nothing, alerts }).map(({ level, what, why, seconds }) => [level, what, why, seconds]);
  expect(of({ ...alert, evidence })).toEqual([['error', 'api: threshold p95', '300 ms against 100 ms', 60]]);
  const noted = { ...alert, severity: 'warning', backend: 'one', acknowledged: { by: 'anna', at_seconds: 50 } };
  expect(of(noted)).toEqual([['warning', 'api / one: threshold p95', 'see the alert; noted by anna', 60]]);
  expect(of({ ...alert, silenced: true }, { ...alert, state: 'cleared' }, { ...alert, kind: 'down' })).toEqual([]);
});

test.each([
  [0.0042, 'seconds', '4.2 ms'],
  [0.25, 'share', '25 %'],
  [1234.5, 'per_second', '1,235/s'],
  [7, undefined, '7'],
  [1.666, null, '1.67'],
])('a figure of %s %s', (value, unit, text) => expect(figure(value, unit)).toBe(text));

test('a trend is bad where more of its figure is, and none where it goes nowhere', () => {
  const trend = { metric: 'p95', over: 'hour', direction: 'rising', slope_per_hour: 12.4, median: 40, significance: 0.002, points: 60 };
  const of = (more: object) => told([{ ...trend, ...more }]).map(({ level, what, how }) => [level, what, how.split(';')[0]]);
  expect(of({})).toEqual([['warning', 'p95 is rising', 'by 12 ms an hour over the last hour']]);
  expect(of({ direction: 'falling', slope_per_hour: -3 })).toEqual([['info', 'p95 is falling', 'by 3.0 ms an hour over the last hour']]);
  expect(of({ metric: 'throughput', over: 'day' })).toEqual([['info', 'throughput is rising', 'by 12/s an hour over the last day']]);
  expect(of({ metric: 'error_rate', slope_per_hour: 0.02 })).toEqual([['warning', 'error rate is rising', 'by 2.0 % an hour over the last hour']]);
  expect(of({ direction: 'steady' })).toEqual([]);
});

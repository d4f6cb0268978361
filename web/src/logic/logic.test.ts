import { describe, expect, test } from 'vitest';
import type { Event, Service } from '../api/types';
import { duration, milliseconds, percent, perSecond } from './format';
import { kept, rate, read } from './rates';
import { backoff_ms, StreamParser } from './stream';
import { troubles, type Seen } from './troubles';

const nothing: Seen = {
  services: [],
  backends: new Map(),
  certificates: [],
  limits: [],
  version: null,
  events: [],
  now_seconds: 100,
};

test.each([
  ['rises', { requests: 10, errors: 1 }, { requests: 30, errors: 2 }, 10, 0.5],
  ['rests', { requests: 10, errors: 1 }, { requests: 10, errors: 1 }, 0, 0],
  ['falls: a restart', { requests: 10, errors: 1 }, { requests: 4, errors: 0 }, null, null],
  ['errors fall alone', { requests: 10, errors: 1 }, { requests: 12, errors: 0 }, null, null],
])('a counter %s', (_, before, after, requests, errors) => {
  expect(rate({ at_ms: 0, ...before }, { at_ms: 2000, ...after })).toEqual({ at_ms: 2000, requests, errors });
});

test('no time between readings is no rate', () => {
  const reading = { at_ms: 5, requests: 1, errors: 0 };
  expect(rate(reading, reading).requests).toBeNull();
});

test('requests are exchanges, errors 5xx and none', () => {
  const service = { reasons: { served: 7, no_answer: 1 }, answers: { '2xx': 5, '5xx': 2, none: 1 } };
  expect(read([service as unknown as Service], 1)).toEqual({ at_ms: 1, requests: 8, errors: 3 });
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

test('errors stand before warnings, and a reload that was taken mends', () => {
  const event = (kind: string) => ({ kind, at_seconds: 90, level: 'error', number: 1 }) as Event;
  const limits = [{ limit: 'in_flight', of: 'service', name: 'a', used: 9, most: 10 }];
  const seen = troubles({ ...nothing, limits, events: [event('reloaded'), event('reload_refused')] });
  expect(seen.map((one) => [one.level, one.seconds])).toEqual([['error', 10], ['warning', null]]);
  expect(troubles({ ...nothing, events: [event('reload_refused'), event('reloaded')] })).toEqual([]);
});

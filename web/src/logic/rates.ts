// Rates and quantiles from counters that were read twice.
import type { Service } from '../api/types';

/** Exchanges by the bounds between which they lasted, in milliseconds. */
type Buckets = Map<number, { above_ms: number; exchanges: number }>;

export interface Reading {
  at_ms: number;
  requests: number;
  errors: number;
  durations: Buckets;
}

export interface Rate {
  at_ms: number;
  /** Null: unknown, since the process began anew between the readings. */
  requests: number | null;
  errors: number | null;
  /** Null too where nothing ended between them. */
  p50_ms: number | null;
  p95_ms: number | null;
  p99_ms: number | null;
}

const numbers = (counts: object) => Object.entries(counts as Record<string, number>);

export const requestsOf = (service: Service): number =>
  numbers(service.reasons).reduce((sum, [, count]) => sum + count, 0);

/** Answers of 500 and above, and exchanges that ended without any. */
export const errorsOf = (service: Service): number =>
  numbers(service.answers).reduce((sum, [kind, count]) => (kind === '5xx' || kind === 'none' ? sum + count : sum), 0);

function durationsOf(services: Service[]): Buckets {
  const all: Buckets = new Map();
  for (const { durations } of services) {
    for (const { most_ms, above_ms, exchanges } of durations) {
      const bound = most_ms ?? Infinity;
      all.set(bound, { above_ms, exchanges: (all.get(bound)?.exchanges ?? 0) + exchanges });
    }
  }
  return all;
}

export function read(services: Service[], at_ms: number): Reading {
  const sum = (of: (service: Service) => number) => services.reduce((all, one) => all + of(one), 0);
  return { at_ms, requests: sum(requestsOf), errors: sum(errorsOf), durations: durationsOf(services) };
}

/** Within a bucket all times are alike likely, as Prometheus has it; what is above the last bound counts as that bound. */
export function quantile(before: Buckets, after: Buckets, part: number): number | null {
  const between = [...after]
    .map(([bound, { above_ms, exchanges }]) => ({ bound, above_ms, count: exchanges - (before.get(bound)?.exchanges ?? 0) }))
    .filter(({ count }) => count > 0)
    .sort((one, other) => one.bound - other.bound);
  let left = between.reduce((sum, { count }) => sum + count, 0) * part;
  for (const { bound, above_ms, count } of between) {
    if (count >= left) return Number.isFinite(bound) ? above_ms + ((bound - above_ms) * left) / count : above_ms;
    left -= count;
  }
  return null;
}

export const unknown = (at_ms: number): Rate => ({ at_ms, requests: null, errors: null, p50_ms: null, p95_ms: null, p99_ms: null });

/** Counters that fell are another process's, not a negative rate. */
export function rate(before: Reading, after: Reading): Rate {
  const seconds = (after.at_ms - before.at_ms) / 1000;
  const restarted = after.requests < before.requests || after.errors < before.errors;
  if (seconds <= 0 || restarted) return unknown(after.at_ms);
  const at = (part: number) => quantile(before.durations, after.durations, part);
  return {
    at_ms: after.at_ms,
    requests: (after.requests - before.requests) / seconds,
    errors: (after.errors - before.errors) / seconds,
    p50_ms: at(0.5),
    p95_ms: at(0.95),
    p99_ms: at(0.99),
  };
}

/** Appends, and forgets the oldest beyond `most`. */
export const kept = <T>(rows: T[], row: T, most: number): T[] => [...rows.slice(-(most - 1)), row];

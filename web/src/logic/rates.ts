// Rates from counters that were read twice.
import type { Service } from '../api/types';

export interface Reading {
  at_ms: number;
  requests: number;
  errors: number;
}

export interface Rate {
  at_ms: number;
  /** Null: unknown, since the process began anew between the readings. */
  requests: number | null;
  errors: number | null;
}

const numbers = (counts: object) => Object.entries(counts as Record<string, number>);

export const requestsOf = (service: Service): number =>
  numbers(service.reasons).reduce((sum, [, count]) => sum + count, 0);

/** Answers of 500 and above, and exchanges that ended without any. */
export const errorsOf = (service: Service): number =>
  numbers(service.answers).reduce((sum, [kind, count]) => (kind === '5xx' || kind === 'none' ? sum + count : sum), 0);

export function read(services: Service[], at_ms: number): Reading {
  const sum = (of: (service: Service) => number) => services.reduce((all, one) => all + of(one), 0);
  return { at_ms, requests: sum(requestsOf), errors: sum(errorsOf) };
}

/** Counters that fell are another process's, not a negative rate. */
export function rate(before: Reading, after: Reading): Rate {
  const seconds = (after.at_ms - before.at_ms) / 1000;
  const restarted = after.requests < before.requests || after.errors < before.errors;
  if (seconds <= 0 || restarted) return { at_ms: after.at_ms, requests: null, errors: null };
  return {
    at_ms: after.at_ms,
    requests: (after.requests - before.requests) / seconds,
    errors: (after.errors - before.errors) / seconds,
  };
}

/** Appends, and forgets the oldest beyond `most`. */
export const kept = <T>(rows: T[], row: T, most: number): T[] => [...rows.slice(-(most - 1)), row];

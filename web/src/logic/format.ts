// How numbers and times are written.

const NONE = '–';

export function duration(seconds: number | null | undefined): string {
  if (seconds == null || !Number.isFinite(seconds)) return NONE;
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 172_800) return `${Math.floor(whole / 3600)} h`;
  return `${Math.floor(whole / 86_400)} d`;
}

export function milliseconds(ms: number | null | undefined): string {
  if (ms == null || !Number.isFinite(ms)) return NONE;
  if (ms >= 10_000) return `${(ms / 1000).toFixed(0)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return ms >= 10 ? `${ms.toFixed(0)} ms` : `${ms.toFixed(1)} ms`;
}

export const percent = (share: number | null | undefined): string =>
  share == null || !Number.isFinite(share) ? NONE : `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

/** `NaN` and infinities never reach the page. */
export function perSecond(rate: number | null | undefined): string {
  if (rate == null || !Number.isFinite(rate)) return NONE;
  return rate > 0 && rate < 10 ? rate.toFixed(1) : Math.round(rate).toLocaleString('en');
}

/** A figure of the API by its unit. */
export function figure(value: number, unit: string | null | undefined): string {
  if (unit === 'seconds') return milliseconds(value * 1000);
  if (unit === 'share') return percent(value);
  if (unit === 'per_second') return `${perSecond(value)}/s`;
  return Number.isInteger(value) ? count(value) : value.toFixed(2);
}

export const count = (value: number | null | undefined): string => (value == null ? NONE : value.toLocaleString('en'));

export const clock = (seconds: number): string => new Date(seconds * 1000).toLocaleTimeString('en-GB');

export const dateAndTime = (seconds: number): string =>
  new Date(seconds * 1000).toISOString().slice(0, 19).replace('T', ' ') + ' UTC';

/** Words of the API, such as `half_open`, as people read them. */
export const words = (word: string): string => word.replaceAll('_', ' ');

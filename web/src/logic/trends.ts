// Where figures go, in words: the API tells directions, and which of them is bad hangs on the figure.
import type { FigureTrend } from '../api/types';
import { figure, percent, words } from './format';

export interface Told {
  level: 'warning' | 'info';
  what: string;
  how: string;
}

/** What is more of is worse, but for throughput, which says nothing by itself. */
const WORSE_RISING = ['mean', 'p95', 'p99', 'error_rate'];

const UNITS: Record<string, string> = { throughput: 'per_second', error_rate: 'share' };

/** Those that go somewhere. */
export function told(trends: FigureTrend[]): Told[] {
  return trends
    .filter((one) => one.direction !== 'steady')
    .map(({ metric, direction, over, slope_per_hour, significance }) => {
      const unit = UNITS[metric];
      // Latencies come in milliseconds.
      const slope = unit ? figure(Math.abs(slope_per_hour), unit) : figure(Math.abs(slope_per_hour) / 1000, 'seconds');
      return {
        level: direction === 'rising' && WORSE_RISING.includes(metric) ? 'warning' : 'info',
        what: `${words(metric)} is ${direction}`,
        how: `by ${slope} an hour over the last ${over}; where there is no trend so much of one comes in ${percent(significance)} of cases`,
      };
    });
}

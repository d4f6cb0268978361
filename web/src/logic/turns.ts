// Whose backends are read at a poll: of many services not all, so that a page asks the server for no more than it can show.
import type { Service } from '../api/types';

/** Services whose backends one poll asks for. */
export const AT_A_POLL = 12;

/** Of them, those that need not wait for their turn. */
const AT_ONCE = 8;

/** The first poll asks for so many: a page that opens is to be whole. */
export const AT_FIRST = 150;

const WELL = ['serving', 'unproven'];

/** Some of its backends do not serve, or too few do. */
const troubled = (service: Service): boolean =>
  service.all_down_seconds != null || Object.keys(service.backends).some((standing) => !WELL.includes(standing));

/**
 * Those that are looked at, those of which something was heard and those in trouble, as many as go at once; then whoever was read the longest ago.
 * `read` says of each at which turn that was.
 */
export function turn(services: Service[], looked: ReadonlySet<string>, read: ReadonlyMap<string, number>): string[] {
  const most = read.size === 0 ? AT_FIRST : AT_A_POLL;
  const age = ({ name }: Service) => read.get(name) ?? -1;
  const oldest = services.toSorted((one, other) => age(one) - age(other));
  const rank = (service: Service) => (looked.has(service.name) ? 0 : age(service) < 0 ? 1 : troubled(service) ? 2 : 3);
  const urgent = oldest.filter((service) => rank(service) < 3);
  const first = urgent.sort((one, other) => rank(one) - rank(other)).slice(0, AT_ONCE);
  const taken = new Set(first);
  return [...first, ...oldest.filter((service) => !taken.has(service))].slice(0, most).map(({ name }) => name);
}

// Which periods to set side by side.

import { periodsOf } from "../app";
import type { Area, Period, SiteDetail } from "../base/types";

/** The two periods that tell most: before and after the site was first detected, else first and last. */
export function bestPair(area: Area, detail: SiteDetail | null): [Period, Period] | null {
  const periods = periodsOf(area);
  const last = periods.at(-1);
  if (periods.length < 2 || !last) return null;
  const first = detail ? periods.filter((one) => one.end < detail.site.first_seen).at(-1) : undefined;
  const plain = ({ start, end }: Period): Period => ({ start, end });
  return [plain(first ?? periods[0]!), plain(last)];
}

// Which periods to set side by side.

import { periodsOf, runWith } from "../app";
import type { Area, Period, SiteDetail } from "../base/types";

/** The part of a site that must be seen for an image to tell of it, as the rules of sites ask. */
const WELL_SEEN = 0.7;

/**
 * The two periods that tell most: before and after the site was first detected, else first and last.
 * Of those whose images show the site if two do, else of those with images, else of all.
 */
export function bestPair(area: Area, detail: SiteDetail | null): [Period, Period] | null {
  const all = periodsOf(area);
  const since = detail?.site.first_seen ?? null;
  const imaged = all.filter((one) => runWith(area.runs, one, "has_image"));
  const seen = detail ? imaged.filter((one) => isSeen(area, detail, one)) : imaged;
  return pairOf(seen, since) ?? pairOf(imaged, since) ?? pairOf(imaged, null) ?? pairOf(all, since);
}

function isSeen(area: Area, { looks }: SiteDetail, period: Period): boolean {
  const run = runWith(area.runs, period, "has_image");
  return looks.some((look) => look.run_id === run?.run_id && look.observed_share >= WELL_SEEN);
}

/** The last period that ended before a day and the last of all, which is not to end before it too. */
function pairOf(periods: readonly Period[], since: string | null): [Period, Period] | null {
  const last = periods.at(-1);
  if (!last || (since && last.end < since)) return null;
  const first = periods.filter((one) => since && one.end < since).at(-1) ?? periods[0]!;
  const plain = ({ start, end }: Period): Period => ({ start, end });
  return first === last ? null : [plain(first), plain(last)];
}

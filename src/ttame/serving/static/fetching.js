// Maps on their way: quick methods do not wait for slow ones, and what nobody looks at is given up.

/**
 * next(slow): what is shown and not there yet, or nothing; isLookedAt(it): whether it is still
 * wanted; get(it, signal): fetches and keeps it; fails(it, problem); cancelled(it); arrived().
 */
export const makeFetching = ({ next, isLookedAt, get, fails, cancelled, arrived }) => {
  const lanes = new Map(); // Slow or not: what is on its way.

  const fetchOne = async (slow, wanted) => {
    const controller = new AbortController();
    lanes.set(slow, { wanted, controller });
    try {
      await get(wanted, controller);
    } catch (problem) {
      if (problem.name !== "AbortError") fails(wanted, problem);
      else if (isLookedAt(wanted)) cancelled(wanted);
    } finally {
      lanes.delete(slow);
      arrived();
    }
  };

  const run = async (slow) => {
    const under = lanes.get(slow);
    if (under) { // Its own loop goes on with what is wanted now.
      if (!isLookedAt(under.wanted)) under.controller.abort();
      return;
    }
    for (let wanted = next(slow); wanted; wanted = next(slow)) await fetchOne(slow, wanted);
  };

  return () => { run(false); run(true); };
};

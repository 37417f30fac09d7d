// Latency where nothing is crowded: half as many requests a second as the gateway could answer, evenly spaced.
import type { Contender, Running } from '../contender.ts';
import { measure, send } from '../measure.ts';
import type { Scenario, Sizes } from '../scenario.ts';

/** @param measured whose half load it is, for all; without it the first one's */
export function halfLoad(measured: Contender): Scenario['begin'] {
  return async ({ sizes, surroundings }, runnings) => {
    const halved = runnings.get(measured.name) ?? [...runnings.values()][0];
    if (!halved) throw new Error('Nobody runs whose load could be halved');
    let perSecond: number | undefined;
    return async (running) => {
      perSecond ??= await halfOf(halved, sizes);
      const { url, cookie } = running;
      const order = { url: `${url}/api/x`, cookie, perSecond, seconds: sizes.seconds };
      const storePids = surroundings.storePids();
      return measure(running, { script: 'loads/paced.ts', order }, { storePids });
    };
  };
}

/** Of what it answers a second once it is warm. */
async function halfOf({ url, cookie }: Running, sizes: Sizes): Promise<number> {
  const { connections, warmUpRequests: amount } = sizes;
  const order = { url: `${url}/api/x`, method: 'GET', connections, cookies: [cookie], amount } as const;
  await send({ script: 'loads/requests.ts', order });
  const { requests, seconds } = await send({ script: 'loads/requests.ts', order });
  return Math.max(1, Math.floor(requests / seconds / 2));
}

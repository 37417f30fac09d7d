// WebSockets: each sends a message whenever the last has come back.
import { measure } from '../measure.ts';
import type { Scenario } from '../scenario.ts';

const MESSAGE_BYTES = 64;

export function echo(): Scenario['begin'] {
  return async ({ sizes }) =>
    ({ url, cookie, ...running }) => {
      const { connections, seconds } = sizes;
      const order = { url: `${url}/socket`, cookie, connections, seconds, messageBytes: MESSAGE_BYTES };
      return measure({ url, cookie, ...running }, { script: 'loads/sockets.ts', order });
    };
}

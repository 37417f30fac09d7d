// When does the head of an answer go out? With the first bytes of its body where they came along with it, so that both
// are one write; and alone at the end of the same turn of the event loop where none did.

export interface Headed {
  /** Sends the head, unless something has taken it along. */
  sendHead(): void;
}

let waiting: Headed[] = [];

export function sendHeadSoon(answer: Headed): void {
  if (waiting.push(answer) === 1) setImmediate(sendHeads);
}

function sendHeads(): void {
  const due = waiting;
  waiting = [];
  for (const answer of due) answer.sendHead();
}

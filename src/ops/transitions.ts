/** Starts and stops of one service, one after another, so that the last caller's wish is what holds in the end. */
export class Transitions {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(transition: () => T | Promise<T>): Promise<T> {
    const next = this.#last.then(transition, transition);
    this.#last = next;
    return next;
  }
}

import { CardWindow } from "../domain/card-window.ts";
import { coerceError } from "../domain/errors.ts";
import type { CardState, StreamRow } from "../queue/stream-store.ts";
import { growingContent } from "./card-content.ts";
import type { CardContext } from "./card-context.ts";
import { type Created, CardCreation } from "./card-creation.ts";
import { CardUpdates } from "./card-updates.ts";
import { type Ending, type StreamEnd, endingOf, isBlank } from "./stream-ending.ts";
import type { FilesIn } from "./stream-entries.ts";
import { GrowingText, type StreamText } from "./stream-text.ts";

/** Until a creation without an answer, or what our own store refused, is tried again; doubles up to the longest. */
const AGAIN_MS = { first: 1_000, longest: 30_000 } as const;

/**
 * One reply that grows, and its card: created once, then updated with the newest text, one request at a time, until the reply is
 * closed or the card is full. What is lost or refused here delays nobody: the card's end is an entry of the outbox (card-finish.ts).
 */
export class LiveCard {
  readonly row: StreamRow;
  readonly #context: CardContext;
  readonly #always: boolean;
  readonly #limit: number;
  readonly #window: CardWindow;
  readonly #text: GrowingText;
  readonly #creation: CardCreation;
  readonly #updates: CardUpdates;
  #state: CardState | "doubtful";
  #filled: string;
  #underWay: Promise<void> | undefined;
  #filling: Promise<void> = Promise.resolve();
  /** The creation under way is the first: before it there is no card. */
  #isFirst = false;
  /** Why nothing more is begun. */
  #over: "no" | "closing" | "stopped" = "no";
  /** Calls off what waits for its turn: the end must not stand behind it. */
  #callOff = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  /** Monotonic; nothing is begun before. */
  #againAt = 0;
  #tries = 0;
  /** Monotonic, of the first text; undefined for a reply of an earlier life. */
  #firstAt: number | undefined;

  /** `always`: cards whatever the month's budget says. */
  constructor(row: StreamRow, context: CardContext, always: boolean) {
    const { clock, settings, store, logger } = context.options;
    this.row = row;
    this.#context = context;
    this.#always = always;
    this.#text = new GrowingText(row, { store: store.streams, clock, logger });
    this.#creation = new CardCreation(row, context);
    this.#updates = new CardUpdates(row, context, always);
    this.#limit = settings(row.account).cardCharacters;
    this.#window = new CardWindow({ limit: this.#limit });
    this.#state = row.card;
    this.#filled = row.shownText;
    if (row.text !== "") this.#window.push(row.text);
    if (row.card === "shown") this.#updates.shown(Math.max(0, clock.now() - row.createdAt));
  }

  /** `doubtful`: DingTalk may have a card, and has not said so. */
  get state(): CardState | "doubtful" {
    return this.#state;
  }

  /** The card is full: its end is stored. */
  get isFilled(): boolean {
    return this.#filled !== "";
  }

  /** Requests so far, its end apart. */
  get calls(): number {
    return this.#creation.calls + this.#updates.calls;
  }

  get text(): string {
    return this.#text.text;
  }

  /** The newest text wins; an older one is a sign of life, no more. */
  put(text: StreamText): void {
    if (this.#state === "none" && isBlank(this.text) && !isBlank(text.text)) {
      this.#firstAt = this.#context.options.clock.monotonic();
    }
    const isNews = this.#text.put(text);
    // What is armed already will show it, unless it fills the card.
    if (isNews && (this.#timer === undefined || text.text.length >= this.#limit)) this.pump();
  }

  /** Begins what there is to be done now. */
  pump(): void {
    if (this.#over !== "no" || this.#underWay || this.isFilled || isBlank(this.text)) return;
    this.#disarm();
    const wait = this.#againAt - this.#context.options.clock.monotonic();
    const step = wait > 0 ? wait : this.#look();
    if (typeof step === "number") this.#timer = setTimeout(() => this.pump(), Math.ceil(step));
    if (typeof step !== "function") return;
    this.#underWay = step()
      .catch((thrown: unknown) => this.#failed(thrown))
      .finally(() => {
        this.#underWay = undefined;
        this.pump();
      });
  }

  /** Begins nothing any more, and says what has to be sent. A card that DingTalk was not asked for yet will not be. */
  async end(end: StreamEnd, filesIn: FilesIn): Promise<Ending & { card: CardState }> {
    this.#over = "closing";
    this.#disarm();
    this.#callOff.abort();
    // Whether it is full has to be known first.
    await this.#filling.catch(() => undefined);
    if (this.#state === "creating" && this.#isFirst && !this.#creation.asking) this.#state = "none";
    let ending = this.#ending(end, filesIn);
    if (this.#state === "creating" && ending.entries.length > 1) {
      // What follows the card must not be sent before it is known whether there is one.
      await this.#underWay;
      ending = this.#ending(end, filesIn);
    }
    return { ...ending, card: this.#stored() };
  }

  /** Its end could not be stored. */
  reopen(): void {
    if (this.#over === "closing") {
      this.#over = "no";
      this.#callOff = new AbortController();
    }
    this.pump();
  }

  /** Begins nothing any more; the text is kept. */
  stop(): void {
    this.#over = "stopped";
    this.#disarm();
    this.#callOff.abort();
    this.#text.save();
  }

  /** Resolves when nothing is under way. */
  async atRest(): Promise<void> {
    while (this.#underWay) await this.#underWay;
    await this.#text.atRest();
  }

  #ending(end: StreamEnd, filesIn: FilesIn): Ending {
    const stream = { row: this.row, card: this.#state, filled: this.#filled, window: this.#window, text: this.text };
    return endingOf(stream, end, filesIn);
  }

  /** What is kept of a closed stream's card; `finished`: its end is stored with it. */
  #stored(): CardState {
    if (this.#state === "shown") return "finished";
    return this.#state === "doubtful" ? "failed" : this.#state;
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #look(): (() => Promise<void>) | number | undefined {
    try {
      return this.#next();
    } catch (thrown) {
      this.#failed(thrown);
      return AGAIN_MS.first;
    }
  }

  /** What to begin, or in how many milliseconds to look again. */
  #next(): (() => Promise<void>) | number | undefined {
    switch (this.#state) {
      case "none": {
        const wait = this.row.mode === "card" ? this.#context.mayCreate(this.row, this.#always) : undefined;
        return wait === 0 ? () => this.#create(true) : wait;
      }
      case "creating":
      case "doubtful":
        return () => this.#create(false);
      case "shown": {
        if (this.#window.push(this.text).closed) return () => (this.#filling = this.#fill());
        const wait = this.#updates.waitFor(this.#text.version);
        return wait === 0 ? () => this.#update() : wait;
      }
      default:
        return undefined;
    }
  }

  async #create(isFirst: boolean): Promise<void> {
    this.#isFirst = isFirst;
    if (isFirst) this.#state = "creating";
    const { text, seq } = this.#text;
    const begin = (): Promise<boolean> =>
      isFirst ? this.#text.note({ card: "creating", text, seq }) : Promise.resolve(true);
    // A creation without an answer is resolved by the end of the reply, too.
    const newest = (): string | undefined => (this.#over === "no" ? this.#window.push(this.text).shown : undefined);
    try {
      await this.#created(await this.#creation.run(begin, newest, this.#callOff.signal), isFirst);
    } finally {
      if (isFirst && this.#state === "creating") this.#state = "none";
      this.#isFirst = false;
    }
  }

  async #created(created: Created, isFirst: boolean): Promise<void> {
    const { clock } = this.#context.options;
    switch (created.kind) {
      case "shown":
        this.#state = "shown";
        this.#measure();
        this.#updates.shown();
        this.#context.shown(this.row);
        await this.#text.note({ card: "shown" });
        return;
      case "refused":
        this.#againAt = clock.monotonic() + created.waitMs;
        if (!isFirst) return;
        this.#state = "none";
        await this.#text.note({ card: "none" });
        return;
      case "unknown":
        this.#state = "doubtful";
        this.#againAt = clock.monotonic() + Math.min(AGAIN_MS.longest, AGAIN_MS.first * 2 ** this.#tries);
        this.#tries += 1;
        return;
      case "failed":
        return this.#failedFor(created.mayExist || !isFirst);
    }
  }

  #measure(): void {
    const { clock, metrics } = this.#context.options;
    if (this.#firstAt === undefined) return;
    const seconds = (clock.monotonic() - this.#firstAt) / 1_000;
    metrics.firstTextSeconds.observe({ account: this.row.account }, seconds);
  }

  /** This reply does without a card. */
  async #failedFor(mayExist: boolean): Promise<void> {
    this.#state = mayExist ? "doubtful" : "failed";
    // The entry of its end finds out whether there is one.
    if (mayExist && this.#over === "closing") return;
    if (mayExist) await this.#context.abandon(this.row);
    this.#state = "failed";
    await this.#text.note({ card: "failed" });
  }

  async #update(): Promise<void> {
    const isThere = await this.#updates.run(() => {
      if (this.#over !== "no") return undefined;
      const { shown } = this.#window.push(this.text);
      return { text: this.#text.version, content: growingContent(shown, this.#text.status) };
    }, this.#callOff.signal);
    if (!isThere) this.#state = "failed";
    // The newest: what it showed may be older than what is on disk by now.
    const { text, seq } = this.#text;
    await this.#text.note({ text, seq, ...(!isThere && { card: "failed" as const }) });
  }

  /** The card is full: it ends with what it says, and what follows is sent when the reply ends. */
  async #fill(): Promise<void> {
    const { shown } = this.#window.push(this.text);
    const isStored = await this.#context.fill(this.row, { shownText: shown, text: this.text });
    if (isStored) this.#filled = shown;
  }

  #failed(thrown: unknown): void {
    const { clock, logger } = this.#context.options;
    const { id: streamId, account } = this.row;
    this.#againAt = clock.monotonic() + AGAIN_MS.first;
    logger.warn({ err: coerceError(thrown), account, streamId }, "a live card has to wait");
  }
}

import type { Agent } from "node:http";
import type { Socket } from "node:net";
import { DWClient } from "dingtalk-stream";
import { type RawData, WebSocket } from "ws";
import { BridgeError, coerceError } from "../domain/errors.ts";
import { type Frame, MAX_FRAME_BYTES, ackFrame, parseFrame } from "./frame.ts";
import { type OpenConnectionOptions, openConnection } from "./open-connection.ts";
import { networkFailure, quotePeer, timedOut } from "./stream-failure.ts";

/** How a connection ended. `reason` is the peer's text, `error` the socket's; both fit for a log line. */
export interface StreamClose {
  code: number;
  reason?: string;
  error?: string;
}

export interface StreamOptions extends OpenConnectionOptions {
  handshakeTimeoutMs: number;
  /** For the peer's close frame; then the socket is cut. */
  closeWaitMs: number;
  /** An agent for the WebSocket (a proxy), where one is needed for this URL. */
  webSocketAgent?: ((url: URL) => Agent | undefined) | undefined;
  /** Called when the socket is open and before any frame of it: a frame may come in one packet with the upgrade. */
  onOpen: (socket: StreamSocket) => void;
  /** Called for each WebSocket message. Must not throw. */
  onFrame: (frame: Frame) => void;
  /** Called once, after `onOpen` only. Must not throw. */
  onClose: (close: StreamClose) => void;
}

/** One open socket of one account. */
export interface StreamSocket {
  readonly host: string;
  /** Bytes received so far. */
  bytesRead(): number;
  ping(): void;
  /**
   * Writes the answer to a frame of this socket. `done` is called once: with nothing when the bytes went to the system,
   * with a reason when they could not (the socket is closing, or the write failed). Never throws.
   */
  reply(messageId: string | undefined, data: unknown, code: number, done: (failure?: "closed" | "write") => void): void;
  /** Closes with 1000, cuts the socket when the peer does not answer. Resolves when it is closed. */
  close(): Promise<void>;
  /** Cuts the socket at once. */
  terminate(): void;
}

/**
 * Opens one connection: the open call, then the WebSocket. Resolves when it is open and
 * handed to `onOpen`. Aborting `signal` gives up at any point before.
 *
 * @throws BridgeError the codes of `openConnection`, stream_handshake_failed, stream_timeout, stream_unreachable
 */
export async function openStream(options: StreamOptions): Promise<void> {
  await new Client(options).connect();
}

const NORMAL_CLOSURE = 1000;

/**
 * DingTalk's SDK client, used for exactly one connection and then dropped. Its known defects (dingtalk-protocol.md §1.10)
 * cannot be reached: everything of it that talks to the network, parses, answers, reconnects or prints is overridden
 * here, and it never learns of our socket. What stays is its configuration and its event emitter.
 */
class Client extends DWClient implements StreamSocket {
  readonly #options: StreamOptions;
  readonly #closed = Promise.withResolvers<void>();
  #url: URL | undefined;
  #ws: WebSocket | undefined;
  #tcp: Socket | undefined;
  #error: string | undefined;
  #ended = false;

  constructor(options: StreamOptions) {
    super(sdkOptions(options));
    this.#options = options;
  }

  get host(): string {
    return this.#url?.host ?? "";
  }

  /** Unlike the SDK's, rejects when it fails and never tries again. */
  override async connect(): Promise<void> {
    await this.getEndpoint();
    await this._connect();
  }

  override async getEndpoint(): Promise<this> {
    this.#url = await openConnection(this.#options);
    return this;
  }

  override _connect(): Promise<void> {
    const url = this.#url;
    if (url === undefined || this.#ws !== undefined) throw new BridgeError("internal", "a client connects once");
    const { signal, handshakeTimeoutMs } = this.#options;
    const step = `WebSocket handshake with ${url.host}`;
    const secrets = [this.#options.clientSecret, url.searchParams.get("ticket") ?? ""];
    const opened = Promise.withResolvers<void>();

    if (signal?.aborted === true) throw new BridgeError("stopping", `${step}: given up`);
    const ws = dial(url, this.#options.webSocketAgent, step, secrets);
    this.#ws = ws;

    // Instead of ws's handshakeTimeout, which counts from the last byte: a peer that trickles would never meet it.
    const deadline = setTimeout(() => fail(timedOut(step, handshakeTimeoutMs)), handshakeTimeoutMs);
    const onAbort = () => fail(new BridgeError("stopping", `${step}: given up`));
    signal?.addEventListener("abort", onAbort, { once: true });
    const settled = (): void => {
      clearTimeout(deadline);
      signal?.removeEventListener("abort", onAbort);
    };
    const fail = (error: BridgeError): void => {
      settled();
      opened.reject(error);
      ws.terminate();
    };

    ws.on("upgrade", (response) => {
      this.#tcp = response.socket;
    });
    ws.on("unexpected-response", (_request, response) => fail(upgradeRefused(step, response.statusCode ?? 0)));
    ws.on("open", () => {
      settled();
      this.connected = true;
      this.#options.onOpen(this);
      opened.resolve();
    });
    ws.on("error", (error) => {
      this.#error = quotePeer(error.message, secrets);
      settled();
      opened.reject(handshakeFailure(step, error, this.#error));
    });
    ws.on("message", (data, isBinary) => this.#receive(data, isBinary));
    ws.on("close", (code, reason) => {
      settled();
      opened.reject(new BridgeError("stream_handshake_failed", `${step}: closed (${code})`, { retryable: true }));
      this.#end(code, quotePeer(reason.toString("utf8"), secrets, 120));
    });
    return opened.promise;
  }

  bytesRead(): number {
    return this.#tcp?.bytesRead ?? 0;
  }

  ping(): void {
    // The callback keeps a failing write from throwing; a dead socket shows by its missing pong.
    if (this.#ws?.readyState === WebSocket.OPEN) this.#ws.ping(undefined, true, () => {});
  }

  reply(
    messageId: string | undefined,
    data: unknown,
    code: number,
    done: (failure?: "closed" | "write") => void,
  ): void {
    if (this.#ws?.readyState !== WebSocket.OPEN) {
      done("closed");
      return;
    }
    this.#ws.send(ackFrame(messageId, data, code), (error) => done(error ? "write" : undefined));
  }

  async close(): Promise<void> {
    const ws = this.#ws;
    if (ws === undefined) return;
    ws.close(NORMAL_CLOSURE);
    const cut = setTimeout(() => this.terminate(), this.#options.closeWaitMs);
    await this.#closed.promise;
    clearTimeout(cut);
  }

  terminate(): void {
    this.#ws?.terminate();
    // The owner's stop must not depend on ws telling of the end of a socket that is cut.
    setImmediate(() => this.#end(1006, ""));
  }

  override disconnect(): void {
    this.terminate();
  }

  override onDownStream(data: string): void {
    this.#receive(Buffer.from(data), false);
  }

  override send(messageId: string, value: unknown): void {
    this.reply(messageId, value, 200, () => {});
  }

  override onSystem(): void {}
  override onEvent(): void {}
  override onCallback(): void {}
  override heartbeat(): void {}
  override printDebug(): void {}

  override getAccessToken(): Promise<never> {
    return Promise.reject(new BridgeError("internal", "the SDK's token call puts the secret into a URL"));
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (!this.#ended) this.#options.onFrame(parseFrame(data, isBinary));
  }

  #end(code: number, reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    const wasOpen = this.connected;
    this.connected = false;
    this.removeAllListeners();
    this.#closed.resolve();
    if (!wasOpen) return;
    this.#options.onClose({
      code,
      ...(reason === "" ? {} : { reason }),
      ...(this.#error === undefined ? {} : { error: this.#error }),
    });
  }
}

/**
 * The SDK's constructor merges these over its defaults, whose `subscriptions` is one array shared by all clients: it gets
 * an own one. It prints to the console when a credential is missing: that is refused before.
 */
function sdkOptions({ clientId, clientSecret, userAgent, subscriptions }: StreamOptions) {
  if (clientId === "" || clientSecret === "") {
    throw new BridgeError("stream_bad_credentials", "Client ID or Client Secret is empty");
  }
  return {
    clientId,
    clientSecret,
    ua: userAgent,
    subscriptions: subscriptions.map(({ type, topic }) => ({ type, topic })),
    autoReconnect: false,
    keepAlive: false,
    debug: false,
  };
}

/** Begins a WebSocket. What it throws at once (a proxy agent that cannot be made) may repeat the URL: only its text is kept. */
function dial(
  url: URL,
  agentFor: StreamOptions["webSocketAgent"],
  step: string,
  secrets: readonly string[],
): WebSocket {
  try {
    return new WebSocket(url, {
      // Somewhat above our own limit, so that a frame just beyond it is counted and the connection lives on.
      maxPayload: MAX_FRAME_BYTES + 64 * 1024,
      perMessageDeflate: false,
      agent: agentFor?.(url),
    });
  } catch (error) {
    const text = quotePeer(coerceError(error).message, secrets);
    throw new BridgeError("stream_handshake_failed", `${step}: ${text}`, { retryable: true, mend: UPGRADE_MEND });
  }
}

const UPGRADE_MEND =
  "If it stays: a proxy that does not pass WebSocket upgrades, or wss-open-connection.dingtalk.com:443 is not open.";

function upgradeRefused(step: string, status: number): BridgeError {
  return new BridgeError("stream_handshake_failed", `${step}: refused with status ${status}`, {
    retryable: true,
    mend: UPGRADE_MEND,
  });
}

/** A system error has a code; what ws itself finds wrong with the answer has none. */
function handshakeFailure(step: string, error: Error, text: string): BridgeError {
  if ("code" in error || error instanceof AggregateError) return networkFailure(step, error);
  return new BridgeError("stream_handshake_failed", `${step}: ${text}`, {
    retryable: true,
    mend: UPGRADE_MEND,
  });
}

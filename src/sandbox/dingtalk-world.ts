import { Ids } from "./dingtalk-ids.ts";
import type { SimulatorKnobs } from "./dingtalk-knobs.ts";
import { CappedMap } from "./dingtalk-records.ts";
import type { CustomRobot, SimulatedApp, SimulatedGroup, SimulatedUser, SimulatorOptions } from "./dingtalk-types.ts";

export type App = Required<SimulatedApp> & {
  /** `headers.appId` of its frames. */
  appId: string;
};

export interface Conversation {
  id: string;
  app: App;
  kind: "direct" | "group";
  title: string | undefined;
  /** The person of a direct conversation. */
  staffId: string | undefined;
}

interface Session {
  conversation: Conversation;
  expiresAt: number;
}

interface Token {
  value: string;
  app: App;
  expiresAt: number;
}

export interface Usage {
  /** Calls of paid APIs this month. */
  calls: number;
  /** Webhook & Stream units this month. */
  units: number;
}

/** What DingTalk knows: apps, people, groups, sessions, tokens, the month's consumption. */
export class World {
  readonly ids = new Ids();
  readonly apps: App[];
  readonly customRobots: readonly CustomRobot[];
  readonly #users = new Map<string, SimulatedUser>();
  readonly #groups = new Map<string, SimulatedGroup>();
  readonly #groupsByTitle = new Map<string, SimulatedGroup>();
  readonly #sessions: CappedMap<string, Session>;
  readonly #usedKeys = new CappedMap<string, true>(() => 10_000);
  readonly #tokens = new Map<string, Token>();
  readonly #tokenOfApp = new Map<string, Token>();
  readonly #usage = new Map<string, Usage>();
  readonly #knobs: SimulatorKnobs;

  constructor(options: SimulatorOptions, knobs: SimulatorKnobs) {
    this.#knobs = knobs;
    this.customRobots = options.customRobots ?? [];
    this.#sessions = new CappedMap(() => knobs.maxRecords);
    this.apps = options.apps.map((app) => ({
      robotCode: app.appKey,
      corpId: Ids.corp("main"),
      robotName: "机器人",
      published: true,
      missingScopes: [],
      ...app,
      appId: Ids.uuid(app.appKey),
    }));
    const users = options.users ?? [
      { staffId: "staff001", name: "张三", admin: true },
      { staffId: "staff002", name: "李四" },
    ];
    for (const user of users) this.#users.set(user.staffId, user);
    for (const group of options.groups ?? [{ conversationId: Ids.conversation("测试群"), title: "测试群" }]) {
      this.addGroup(group);
    }
  }

  /** DingTalk's clock: epoch ms. */
  now(): number {
    return Date.now() + this.#knobs.clockSkewMs;
  }

  /** By app key or robot code; the first app when not named. Throws for an unknown name: the test is wrong. */
  app(name: string | undefined): App {
    const app = name === undefined ? this.apps[0] : this.findApp(name);
    if (!app) throw new Error(`the simulator has no app "${name ?? ""}"`);
    return app;
  }

  findApp(name: unknown): App | undefined {
    return this.apps.find((app) => app.appKey === name || app.robotCode === name);
  }

  findUser(staffId: string): SimulatedUser | undefined {
    return this.#users.get(staffId);
  }

  /** A known person, or a new one of that name. */
  user(staffId: string | undefined): SimulatedUser {
    if (staffId === undefined) {
      const first = this.#users.values().next();
      if (!first.done) return first.value;
    }
    const id = staffId ?? "staff001";
    let user = this.#users.get(id);
    if (!user) this.#users.set(id, (user = { staffId: id, name: id }));
    return user;
  }

  addUser(user: SimulatedUser): void {
    this.#users.set(user.staffId, user);
  }

  addGroup(group: SimulatedGroup): void {
    this.#groups.set(group.conversationId, group);
    this.#groupsByTitle.set(group.title, group);
  }

  findGroup(conversationId: unknown): SimulatedGroup | undefined {
    return typeof conversationId === "string" ? this.#groups.get(conversationId) : undefined;
  }

  /** By conversation id or title, created when unknown: what begins with `cid` is taken for an id. */
  group(idOrTitle: string): SimulatedGroup {
    const known = this.#groups.get(idOrTitle) ?? this.#groupsByTitle.get(idOrTitle);
    if (known) return known;
    const isId = idOrTitle.startsWith("cid");
    const group = { conversationId: isId ? idOrTitle : Ids.conversation(idOrTitle), title: isId ? "群聊" : idOrTitle };
    this.addGroup(group);
    return group;
  }

  direct(app: App, staffId: string): Conversation {
    return { id: Ids.conversation(app.appKey, staffId), app, kind: "direct", title: undefined, staffId };
  }

  groupConversation(app: App, group: SimulatedGroup): Conversation {
    return { id: group.conversationId, app, kind: "group", title: group.title, staffId: undefined };
  }

  /** Whether an idempotency key is seen for the first time. */
  firstUse(key: string): boolean {
    const isFirst = !this.#usedKeys.has(key);
    this.#usedKeys.set(key, true);
    return isFirst;
  }

  /** A fresh sessionWebhook; returns its session id and expiry. */
  openSession(conversation: Conversation): { session: string; expiresAt: number } {
    const session = this.ids.secret();
    const expiresAt = this.now() + this.#knobs.webhookTtlMs;
    this.#sessions.set(session, { conversation, expiresAt });
    return { session, expiresAt };
  }

  /** The conversation of a session, unless expired or unknown. */
  session(id: string | null): Conversation | undefined {
    const session = id === null ? undefined : this.#sessions.get(id);
    return session && session.expiresAt > this.now() ? session.conversation : undefined;
  }

  expireSessions(): void {
    this.#sessions.clear();
  }

  /** The app's token: the same one, renewed, while it is valid (dingtalk-protocol.md §3.1). */
  issueToken(app: App): { token: string; expiresIn: number } {
    const now = Date.now();
    let token = this.#tokenOfApp.get(app.appKey);
    if (!token || token.expiresAt <= now) {
      token = { value: this.ids.secret(), app, expiresAt: 0 };
      this.#tokens.set(token.value, token);
      this.#tokenOfApp.set(app.appKey, token);
    }
    token.expiresAt = now + this.#knobs.tokenTtlMs;
    return { token: token.value, expiresIn: Math.floor(this.#knobs.tokenTtlMs / 1_000) };
  }

  tokenOwner(token: string | null | undefined): App | undefined {
    const known = token ? this.#tokens.get(token) : undefined;
    if (!known) return undefined;
    if (known.expiresAt > Date.now()) return known.app;
    this.#tokens.delete(known.value);
    return undefined;
  }

  /** Makes tokens invalid at once, of one app or of all. */
  expireTokens(app?: App): void {
    for (const token of this.#tokens.values()) {
      if (app && token.app !== app) continue;
      this.#tokens.delete(token.value);
      this.#tokenOfApp.delete(token.app.appKey);
    }
  }

  usage(corpId: string): Usage {
    let usage = this.#usage.get(corpId);
    if (!usage) this.#usage.set(corpId, (usage = { calls: 0, units: 0 }));
    return usage;
  }

  /** Takes a Webhook & Stream unit; false when the month's are gone. */
  takeUnit(app: App): boolean {
    const usage = this.usage(app.corpId);
    if (usage.units >= this.#knobs.monthlyUnits) return false;
    usage.units++;
    return true;
  }

  /** Takes a paid API call; false when the month's are gone. */
  takeCall(app: App): boolean {
    const usage = this.usage(app.corpId);
    if (usage.calls >= this.#knobs.monthlyCalls) return false;
    usage.calls++;
    return true;
  }

  clearUsage(): void {
    this.#usage.clear();
  }
}

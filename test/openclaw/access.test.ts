import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test, vi } from "vitest";
import { deriveToken } from "../../src/domain/account.ts";
import { type DingtalkSimulator, startDingtalkSimulator } from "../../src/sandbox/dingtalk-simulator.ts";
import { Bridge } from "./support/bridge.ts";
import { type Said, saidIn } from "./support/chat.ts";
import { Gateway } from "./support/gateway.ts";
import { ModelServer } from "./support/model-server.ts";
import { agentRoster, approvalsEndWithRun, hasStatusWarnings } from "./support/release.ts";

const APP = { appKey: "dingApp1", appSecret: "secret-of-app-1" };
const SECOND = { appKey: "dingApp2", appSecret: "secret-of-app-2" };
const GROUP = { conversationId: "cidMixedCASE+aB/x9Zq==", title: "测试群" };
const TWIN = { conversationId: GROUP.conversationId.toLowerCase(), title: "另一个群" };
const SOON = { timeout: 60_000, interval: 100 };

type Json = Record<string, unknown>;

/*
 * Who may use the robot, and for what. People write in the DingTalk simulator; the model answers "echo <word>" to "say <word>". The tests
 * share one gateway and run in order; staff001 becomes the owner in the first one.
 */
describe("access, with a real OpenClaw gateway", () => {
  const model = new ModelServer();
  let sim: DingtalkSimulator;
  let gateway: Gateway;
  let bridge: Bridge;

  beforeAll(async () => {
    await model.start();
    sim = await startDingtalkSimulator({ apps: [APP], groups: [GROUP, TWIN] });
    gateway = await Gateway.create(model.url);
    await gateway.installPlugin();
    bridge = await Bridge.start({ ...APP, dingtalkUrl: sim.url, gatewayUrl: gateway.url });
    await gateway.configure((config) => {
      config["channels"] = {
        dingtalk: {
          ...APP,
          bridgeUrl: bridge.url,
          botName: "小助手",
          dmPolicy: "pairing",
          accounts: { second: SECOND },
        },
      };
      config["messages"] = { queue: { mode: "followup" } };
      const { providers } = config["models"] as { providers: { mock: { models: Json[] } } };
      providers.mock.models.push({ ...providers.mock.models[0], id: "other", name: "Other" });
      config["agents"] = { ...(config["agents"] as Json), ...agentRoster(["main", "coder"]) };
    });
    await gateway.start();
    await sim.until("connected");
  });

  afterAll(async () => {
    await bridge?.stop();
    await gateway?.remove();
    await model.stop();
    await sim?.close();
  });

  beforeEach(() => {
    onTestFailed(() => {
      const said = texts().slice(-10).join("\n");
      console.error(
        `--- gateway\n${gateway.log.slice(-6_000)}\n--- bridge\n${bridge?.log.slice(-2_000)}\n--- said\n${said}`,
      );
    });
  });

  const texts = (): string[] => saidIn(sim).map(({ text }) => text);
  const occurrences = (words: string): number => texts().filter((text) => text.includes(words)).length;
  const logLines = (...words: string[]): string[] =>
    gateway.log.split("\n").filter((line) => words.every((word) => line.includes(word)));

  let revision = 20;
  /** How often the gateway has come to work with another configuration: of some changes it starts anew by itself. */
  const applied = (): number => {
    const from = /config hot reload applied|config change requires gateway restart[^]*?\[gateway\] ready/g;
    return gateway.log.match(from)?.length ?? 0;
  };
  /**
   * Writes it to the configuration and waits until the gateway, which reads it by itself, has it. It says so when a channel is concerned,
   * so one of the channel's settings that do not matter here changes every time.
   */
  const change = async (edit: (config: Json, dingtalk: Json) => void): Promise<void> => {
    const before = applied();
    await gateway.configure((config) => {
      const { dingtalk } = config["channels"] as { dingtalk: Json };
      dingtalk["mediaMaxMb"] = revision += 1;
      edit(config, dingtalk);
    });
    await expect.poll(applied, SOON).toBeGreaterThan(before);
  };
  const set = (settings: Json): Promise<void> => change((_, dingtalk) => Object.assign(dingtalk, settings));

  /** Says it and waits for what was decided about it. */
  const decided = async (said: Parameters<DingtalkSimulator["say"]>[0]): Promise<string> => {
    const { msgId } = await sim.say(said);
    return await vi.waitFor(() => {
      // What failed comes again: OpenClaw refuses turns while one of its commands has the state to itself.
      const line = logLines(`message=main:${msgId}`, "decision=").find((one) => !one.includes("decision=failed"));
      return / (decision=\w+(?: reason=\S+)?)/.exec(line ?? "")![1]!;
    }, SOON);
  };
  const ask = async (from: string, word: string, group?: string): Promise<string> =>
    await decided({ from, text: `say ${word}`, ...(group !== undefined && { group }) });
  const answered = (word: string): Promise<void> => expect.poll(texts, SOON).toContain(`echo ${word}`);

  let posted = 0;
  /** As the bridge brings it, to the second account: what is answered. */
  const post = async (message: { sender: string; group?: string; mentioned?: boolean }): Promise<unknown> => {
    const { sender, group, mentioned = true } = message;
    const id = `second:msg${(posted += 1)}`;
    const headers = { authorization: `Bearer ${deriveToken(SECOND.appKey, SECOND.appSecret)}` };
    const body = JSON.stringify({
      version: 1,
      id,
      type: "message",
      account: "second",
      message: {
        conversation: group === undefined ? { kind: "direct", id: "cidDirect" } : { kind: "group", id: group },
        sender: { id: sender, staffId: sender },
        mentioned,
        text: `say post${posted}`,
        parts: [],
      },
      reply: { to: group === undefined ? `user:${sender}` : `conversation:${group}`, inReplyTo: id },
    });
    return await vi.waitFor(async () => {
      const response = await fetch(`${gateway.url}/dingtalk/events`, { method: "POST", headers, body });
      // Not decided yet, or a duplicate of what was.
      expect([200, 409]).toContain(response.status);
      return await response.json();
    }, SOON);
  };

  /** The code that was said to a person, by the words that name that person. */
  const codeOf = async (staffId: string): Promise<string> =>
    await vi.waitFor(() => {
      const said = texts().findLast((text) => text.includes("pairing approve") && text.includes(staffId));
      return /approve dingtalk (\w+)/.exec(said ?? "")![1]!;
    }, SOON);
  const approvals = (): Said[] => saidIn(sim).filter(({ text }) => text.startsWith("✅ OpenClaw access approved"));

  describe("pairing", () => {
    test("a stranger gets one code, the operator sees the request, and the person hears of the approval", async () => {
      expect(await ask("staff001", "stranger")).toBe("decision=pairing reason=dm_policy_pairing_required");
      const code = await codeOf("staff001");
      await ask("staff001", "impatient");
      expect(occurrences("pairing approve")).toBe(1);
      expect(texts()).toContainEqual(expect.stringMatching(/Robot: 小助手\s+Your DingTalk user id: staff001/));
      expect(await gateway.cli("pairing", "list", "dingtalk")).toMatch(new RegExp(`${code}.*staff001.*张三`));

      const written = await gateway.cli("pairing", "approve", "dingtalk", code);
      expect(written).toContain("Command owner configured dingtalk:staff001");
      await expect
        .poll(() => approvals().map(({ text }) => text), SOON)
        .toEqual(["✅ OpenClaw access approved (小助手). Send a message to start chatting."]);
      expect(await ask("staff001", "paired")).toBe("decision=accepted reason=dm_policy_allowlisted");
      await answered("paired");
      expect(model.requests.map(({ prompt }) => prompt).join()).not.toMatch(/stranger|impatient/);
    });

    test("a fourth person hears that there is no code left, once", async () => {
      for (const person of ["staff002", "staff003", "staff004"]) {
        await ask(person, "knock");
        await codeOf(person);
      }
      await ask("staff005", "knock");
      await ask("staff005", "again");

      await expect.poll(() => occurrences("no pairing code is left"), SOON).toBe(1);
      expect(texts()).toContainEqual(expect.stringMatching(/user id: staff005\s+Ask the operator/));
    });

    test("codes outlive a restart of the gateway, and --notify makes no second confirmation", async () => {
      const codes = { two: await codeOf("staff002"), three: await codeOf("staff003"), four: await codeOf("staff004") };
      await gateway.stop();
      await gateway.start();
      await gateway.cli("pairing", "approve", "dingtalk", codes.two, "--notify");
      await gateway.cli("pairing", "approve", "--account", "default", "dingtalk", codes.three);

      await expect.poll(approvals, SOON).toHaveLength(3);
      // Nobody is owner but the first one.
      await gateway.configure(({ commands }) => expect(commands).toEqual({ ownerAllowFrom: ["dingtalk:staff001"] }));
      expect(await ask("staff004", "early")).toContain("decision=pairing");
      expect(await ask("staff002", "second")).toContain("decision=accepted");
      await answered("second");
      expect(approvals()).toHaveLength(3);
    });
  });

  describe("a session for all", () => {
    test("is said in the log, in the status and by the doctor, with the command that ends it", async () => {
      await ask("staff001", "mine");
      await answered("mine");
      expect(model.requests.at(-1)?.context).toContain("say second");

      expect(logLines("direct messages of several people share one session")).toHaveLength(1);
      if (!hasStatusWarnings()) return;
      const status = await gateway.cli("channels", "status");
      expect(status).toContain("openclaw config set session.dmScope per-channel-peer");
      const doctor = (await gateway.cli("doctor", "--non-interactive")).replaceAll(/[│\s]+/g, " ");
      expect(doctor).toContain("openclaw config set session.dmScope per-channel-peer");
    });

    test("ended, everybody has a session, and the status is silent", async () => {
      await change((config) => (config["session"] = { dmScope: "per-channel-peer" }));
      for (const person of ["staff001", "staff002"]) {
        await ask(person, `own${person}`);
        await answered(`own${person}`);
      }
      expect(model.requests.at(-1)?.context).not.toContain("say mine");
      expect(await gateway.cli("channels", "status")).not.toContain("share one session");
    });
  });

  describe("direct messages", () => {
    test("allowlist: the people of the list, by their exact ids", async () => {
      await set({ dmPolicy: "allowlist", allowFrom: ["dingtalk:user:staff002", "STAFF003"] });
      expect(await ask("staff002", "listed")).toBe("decision=accepted reason=dm_policy_allowlisted");
      expect(await ask("staff003", "cased")).toBe("decision=denied reason=dm_policy_not_allowlisted");
      // Approved once, but this policy asks the list alone.
      expect(await ask("staff001", "unlisted")).toBe("decision=denied reason=dm_policy_not_allowlisted");
    });

    test("an empty list is nobody, a list under open is no wider, and an account has lists of its own", async () => {
      await set({
        dmPolicy: "open",
        allowFrom: [],
        accounts: { second: { ...SECOND, dmPolicy: "open", allowFrom: ["staff007", "cidDirect"] } },
      });
      expect(await ask("staff002", "nobody")).toBe("decision=denied reason=dm_policy_not_allowlisted");
      expect(await post({ sender: "staff007" })).toMatchObject({ decision: "accepted" });
      const denied = { decision: "denied", reason: "denied: dm_policy_not_allowlisted" };
      expect(await post({ sender: "staff008" })).toEqual(denied);
      // A person is no conversation, whatever the id.
      expect(await post({ sender: "cidDirect" })).toEqual(denied);
    });

    test("open by the policy alone is everybody; disabled is nobody", async () => {
      await change((_, dingtalk) => {
        Object.assign(dingtalk, { dmPolicy: "open", accounts: { second: { ...SECOND, dmPolicy: "disabled" } } });
        delete dingtalk["allowFrom"];
      });
      expect(await ask("staff009", "anybody")).toBe("decision=accepted reason=dm_policy_open");
      await answered("anybody");
      expect(await post({ sender: "staff007" })).toEqual({
        decision: "denied",
        reason: "denied: dm_policy_disabled",
      });
    });
  });

  describe("groups", () => {
    const here = GROUP.conversationId;

    test("allowlist: the people of the list anywhere, and everybody in the groups of the list", async () => {
      await set({
        groupPolicy: "allowlist",
        groupAllowFrom: ["staff001", `conversation:${here}`],
        accounts: { second: { ...SECOND, groupAllowFrom: ["cidDirect", "user:cidPerson"] } },
      });
      expect(await ask("staff002", "members", here)).toContain("decision=accepted");
      expect(await ask("staff001", "person", TWIN.conversationId)).toBe(
        "decision=accepted reason=group_policy_allowed",
      );
      // The id of this group differs from that of the list by case only.
      expect(await ask("staff002", "twin", TWIN.conversationId)).toBe(
        "decision=denied reason=group_policy_not_allowlisted",
      );
      await answered("members");
      // The list of the second account names a group and a person whose ids others have, too.
      const denied = { decision: "denied", reason: "denied: group_policy_not_allowlisted" };
      expect(await post({ sender: "cidDirect", group: "cidOther" })).toEqual(denied);
      expect(await post({ sender: "staff001", group: "cidPerson" })).toEqual(denied);
      expect(await post({ sender: "cidPerson", group: "cidOther" })).toMatchObject({ decision: "accepted" });
    });

    test("an empty list is nobody; a group may have people of its own, and be switched off", async () => {
      await set({
        groupPolicy: "allowlist",
        groupAllowFrom: [],
        groups: { [here]: { allowFrom: ["staff002"], agentId: "coder" } },
        accounts: {
          second: { ...SECOND, groupPolicy: "open", groups: { "*": { enabled: false }, cidOn: { enabled: true } } },
        },
      });
      expect(await ask("staff002", "own", here)).toContain("decision=accepted");
      expect(await ask("staff001", "notown", here)).toBe("decision=denied reason=group_policy_not_allowlisted");
      expect(await ask("staff001", "nowhere", TWIN.conversationId)).toBe(
        "decision=denied reason=group_policy_empty_allowlist",
      );
      expect(await post({ sender: "staff001", group: "cidOff" })).toEqual({
        decision: "denied",
        reason: "denied: group_disabled",
      });
      expect(await post({ sender: "staff001", group: "cidOn" })).toMatchObject({ decision: "accepted" });
      expect(logLines("nobody reads these settings", `groups.${here}.agentId`)).not.toEqual([]);
    });

    test("the agent of a group answers there, by its settings or by a binding", async () => {
      const peer = { kind: "group", id: TWIN.conversationId };
      await change((config, dingtalk) => {
        Object.assign(dingtalk, { groupPolicy: "open", groups: { [here]: { agent: "coder", requireMention: false } } });
        config["bindings"] = [{ agentId: "coder", match: { channel: "dingtalk", peer } }];
        delete dingtalk["groupAllowFrom"];
      });
      for (const [word, group] of [
        ["bysettings", here],
        ["bybinding", TWIN.conversationId],
      ] as const) {
        await ask("staff002", word, group);
        await answered(word);
        expect(model.requests.find(({ prompt }) => prompt.includes(`say ${word}`))?.context).toMatch(/agent=coder\b/);
      }
      expect(logLines("requireMention is false, but DingTalk sends")).toHaveLength(1);
    });

    test("a message without a mention is passed over where one is required", async () => {
      await set({ accounts: { second: { ...SECOND, groups: { cidLoose: { requireMention: false } } } } });
      const unmentioned = { sender: "staff001", mentioned: false };
      expect(await post({ ...unmentioned, group: "cidStrict" })).toEqual({
        decision: "skipped",
        reason: "skipped: activation_skipped",
      });
      expect(await post({ ...unmentioned, group: "cidLoose" })).toMatchObject({ decision: "accepted" });
    });
  });

  describe("commands", () => {
    const asPrompts = (words: RegExp): string[] =>
      model.requests.map(({ prompt }) => prompt).filter((prompt) => words.test(prompt));
    const refused = "decision=denied reason=control_command_unauthorized";

    test("of the owner are answered by OpenClaw, and never by the model", async () => {
      for (const [command, answer] of [
        ["/status", /OpenClaw \d{4}\./],
        ["/whoami", /staff001/],
      ] as const) {
        expect(await decided({ from: "staff001", text: command })).toContain("decision=accepted");
        await expect.poll(texts, SOON).toContainEqual(expect.stringMatching(answer));
      }
      const before = texts().length;
      await decided({ from: "staff001", text: "/status", group: GROUP.conversationId });
      await expect.poll(() => texts().slice(before), SOON).toContainEqual(expect.stringMatching(/OpenClaw \d{4}\./));
      expect(asPrompts(/\/(?:status|whoami)/)).toEqual([]);
    });

    test("of others are refused without a word, directly and in groups", async () => {
      const before = texts().length;
      for (const text of ["/status", "/model mock/other", "/stop", "/whoami", "/approve 1 allow-once"]) {
        expect(await decided({ from: "staff002", text })).toBe(refused);
        expect(await decided({ from: "staff002", text, group: GROUP.conversationId })).toBe(refused);
      }
      expect(await decided({ from: "staff002", text: "/new" })).toContain("decision=accepted");
      await expect.poll(() => texts().slice(before), SOON).toEqual([expect.stringContaining("New session started")]);
      expect(asPrompts(/\/(?:status|model|stop|whoami|approve|new)\b/)).toEqual([]);
    });

    test("/model switches the model, /new forgets the conversation, /reset too", async () => {
      const of = (word: string) => model.requests.find(({ prompt }) => prompt.includes(`say ${word}`));
      await decided({ from: "staff001", text: "/model mock/other" });
      await ask("staff001", "switched");
      await answered("switched");
      expect(of("switched")?.model).toBe("other");
      for (const [command, word] of [
        ["/new", "fresh"],
        ["/reset", "fresher"],
      ] as const) {
        const before = texts().length;
        await decided({ from: "staff001", text: command });
        await expect.poll(() => texts().length, SOON).toBe(before + 1);
        await ask("staff001", word);
        await answered(word);
      }
      expect(of("fresh")?.context).not.toMatch(/say switched\b/);
      expect(of("fresher")?.context).not.toMatch(/say fresh\b/);
      await decided({ from: "staff001", text: "/model mock/mock" });
    });

    test("/stop of the owner ends what runs", async () => {
      const release = model.hold();
      await sim.say({ from: "staff001", text: "say stopped" });
      await expect.poll(() => model.requests.at(-1)?.prompt, SOON).toContain("say stopped");
      await sim.say({ from: "staff001", text: "/stop" });
      await expect.poll(texts, SOON).toContainEqual(expect.stringContaining("aborted"));
      release();
      await ask("staff001", "goeson");
      await answered("goeson");
      expect(texts()).not.toContain("echo stopped");
    });

    test("a list of those who may command is the only one", async () => {
      await change((config) => {
        config["commands"] = { ...(config["commands"] as Json), allowFrom: { dingtalk: ["staff002"] } };
      });
      expect(await decided({ from: "staff002", text: "/status", group: GROUP.conversationId })).toContain("accepted");
      expect(await decided({ from: "staff001", text: "/status" })).toBe(refused);
      expect(await decided({ from: "staff003", text: "/new" })).toBe(refused);
    });
  });

  describe("approvals of commands on the gateway's machine", () => {
    const prompt = (): string => texts().findLast((text) => text.includes("approval required")) ?? "";
    /** Of OpenClaw itself. Some releases have the agent tell of it in its conversation as well. */
    const prompts = (): number => occurrences("approval required");
    /** What the command wrote, not the command. */
    const hasRun = expect.stringMatching(/^It says: .*(?<!echo )ran-on-the-gateway/s) as unknown;

    beforeAll(() => {
      model.answers.set("run", ({ prompt, toolResults }) => {
        // Before 2026.8.1 what became of the command is the prompt of another run.
        const outcome = /Exact completion details:\s+(.*)/s.exec(prompt)?.[1] ?? toolResults.join(" ");
        return outcome === "" ? { tool: "exec", args: { command: "echo ran-on-the-gateway" } } : `It says: ${outcome}`;
      });
    });

    test("a command that needs one, while nobody can be asked, is denied at once", async () => {
      await change((config) => {
        const { allowFrom: _, ...commands } = config["commands"] as Json;
        config["commands"] = commands;
        config["tools"] = { exec: { security: "allowlist", ask: "always" } };
      });
      await ask("staff002", "run");
      await expect.poll(texts, SOON).toContainEqual(expect.stringMatching(/^It says: .*exec denied/is));
    });

    test("the prompt comes in the conversation, nobody but the owner can approve, and the command runs", async () => {
      await change((config) => (config["approvals"] = { exec: { enabled: true, mode: "session" } }));
      await sim.say({ from: "staff001", text: "say run" });
      const id = await vi.waitFor(() => /\/approve ([\w-]+) allow-once/.exec(prompt())![1]!, SOON);
      expect(await decided({ from: "staff002", text: `/approve ${id} allow-once` })).toContain("decision=denied");
      expect(prompts()).toBe(1);
      expect(texts()).not.toContainEqual(hasRun);
      if (approvalsEndWithRun()) return;
      await sim.say({ from: "staff001", text: `/approve ${id} allow-once` });
      await expect.poll(texts, SOON).toContainEqual(hasRun);
    });

    test("what others ask for in their conversations is asked where the owner is, and denied it does not run", async () => {
      const to = "user:staff001";
      await change((config) => {
        config["approvals"] = { exec: { enabled: true, mode: "targets", targets: [{ channel: "dingtalk", to }] } };
      });
      const before = prompts();
      await sim.say({ from: "staff002", text: "say run", group: GROUP.conversationId });
      await expect.poll(prompts, SOON).toBe(before + 1);
      const id = /\/approve ([\w-]+) allow-once/.exec(prompt())![1]!;
      await sim.say({ from: "staff001", text: `/approve ${id} deny` });
      await expect.poll(texts, SOON).toContainEqual(expect.stringMatching(/^It says: .*denied/s));
    });
  });

  describe("openclaw security audit", () => {
    const findings = async (
      edit: (config: Json, dingtalk: Json) => void,
    ): Promise<{ critical: string[]; warn: string[] }> => {
      await gateway.configure((config) => edit(config, (config["channels"] as { dingtalk: Json }).dingtalk));
      const written = await gateway.cli("security", "audit", "--json");
      const report = JSON.parse(written.slice(written.indexOf("{"))) as {
        findings: { checkId: string; severity: string }[];
      };
      const of = (severity: string): string[] =>
        report.findings.filter((finding) => finding.severity === severity).map(({ checkId }) => checkId);
      return { critical: of("critical"), warn: of("warn") };
    };

    test("finds what an open robot is", async () => {
      const { critical, warn } = await findings((config, dingtalk) => {
        Object.assign(dingtalk, { dmPolicy: "open", groupPolicy: "open", groups: {}, accounts: {} });
        delete config["session"];
      });
      expect(critical).toContain("channels.dingtalk.dm.open");
      expect(warn).toEqual(
        expect.arrayContaining(["channels.dingtalk.groups.open", "channels.dingtalk.dm.shared_session"]),
      );
    });

    test("finds nothing critical in what suits a team", async () => {
      const { critical, warn } = await findings((config, dingtalk) => {
        Object.assign(dingtalk, { dmPolicy: "pairing", groupPolicy: "open" });
        config["session"] = { dmScope: "per-channel-peer" };
        config["tools"] = { profile: "messaging", deny: ["gateway"], elevated: { enabled: false } };
      });
      expect(critical).toEqual([]);
      expect(warn.filter((id) => id.startsWith("channels."))).toEqual(["channels.dingtalk.groups.open"]);
    });
  });
});

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { amrOf, mp4Of, pdfOf, pngOf, sha256 } from "../support/sample-files.ts";
import { folder, SandboxProcess } from "./terminal-client.ts";

const files = folder();
let sandbox: SandboxProcess;

beforeAll(async () => {
  sandbox = new SandboxProcess();
  await sandbox.expect(/the scripted gateway repeats[\s\S]*think/i);
}, 30_000);

afterAll(async () => {
  await sandbox.close();
  files.close();
});

const short = (data: Buffer): string => sha256(data).slice(0, 8);

describe("what the person says", () => {
  it("comes back as before", async () => {
    expect(await sandbox.type("你好", /收到/)).toBe("robot  > 收到:你好\n");
  });

  it("is said as it is, unless it is a command", async () => {
    expect(await sandbox.type(":)", /收到/)).toContain("收到::)");
    expect(await sandbox.type("/new", /收到/)).toContain("收到:/new");
    expect(await sandbox.type("//help", /收到/)).toContain("收到:/help");
    expect(await sandbox.type(":nonsense", /no such command/)).not.toContain("收到");
    expect(await sandbox.type("constructor", /收到/)).toContain("收到:constructor");
  });

  it("can be an answer to the robot's last message", async () => {
    await sandbox.type("第一句", /收到:第一句/);
    expect(await sandbox.type("/quote 什么意思", /收到/)).toBe(
      "robot  > 收到:什么意思\n         (回复「收到:第一句」)\n",
    );
  });

  it("can be said by somebody else, and in a group", async () => {
    expect(await sandbox.type("/as staff002", /staff002/)).toContain("you are staff002, alone with the robot");
    expect(await sandbox.type("/quote x", /\(/)).toBe("(the robot has said nothing here yet)\n");
    expect(await sandbox.type("/as staff001", /staff001/)).toContain("alone");
    expect(await sandbox.type("/group 项目群", /项目群/)).toContain("you are staff001, in the group 项目群");
    expect(await sandbox.type("大家好", /收到/)).toBe("robot (项目群)  > 收到:大家好\n");
    expect(await sandbox.type("/direct", /alone/)).not.toContain("收到");
    expect(await sandbox.type("回来了", /收到/)).toBe("robot  > 收到:回来了\n");
  });
});

describe("files", () => {
  it("go as what they are, and come back as they were", async () => {
    const pdf = pdfOf("report");
    const path = files.write("my report.pdf", pdf);
    const said = await sandbox.type(`/file "${path}"`, /robot {2}> \[file/);
    expect(said).toContain("you    > [file my report.pdf 516 B]");
    expect(said).toContain(`- file my report.pdf, application/pdf, 516 B, sha256 ${short(pdf)}`);
    expect(said).toContain("robot  > [file my report.pdf 516 B]");
  });

  it("are voice messages and videos with their length", async () => {
    const amr = amrOf("voice", 3_000);
    const voice = await sandbox.type(`/file ${files.write("v.amr", amr)}`, /robot {2}> \[audio/);
    expect(voice).toContain(`audio/amr, 4.8 kB, 3 s, sha256 ${short(amr)}`);
    expect(voice).toContain("robot  > [audio 3 s]");
    const mp4 = mp4Of("film", 5_000, 20_000);
    const video = await sandbox.type(`/file ${files.write("film.mp4", mp4)}`, /robot {2}> \[video/);
    expect(video).toContain(`video/mp4, 20 kB, 5 s, sha256 ${short(mp4)}`);
    expect(video).toContain("robot  > [video 5 s 20 kB]");
  });

  it("are a rich text when several pictures go together", async () => {
    const [one, two] = [pngOf("one"), pngOf("two", 900)];
    const paths = [files.write("one.png", one), files.write("second one.png", two).replaceAll(" ", "\\ ")];
    const said = await sandbox.type(`/file ${paths.join(" ")}`, /(?:robot {2}> \[image[^\n]*\n){2}/);
    expect(said).toContain("you    > [picture second one.png 957 B]");
    for (const data of [one, two]) expect(said).toContain(`sha256 ${short(data)}`);
    expect(said.indexOf(short(one))).toBeLessThan(said.indexOf(short(two)));
  });

  it("are refused in words", async () => {
    const text = files.write("notes.txt", "notes");
    const picture = files.write("p.png", pngOf("p"));
    const cases: [string, string][] = [
      ["/file", "which file?"],
      [`/file ${files.directory}/missing.png`, "missing.png: no such file"],
      [`/file ${files.directory}`, "not a file"],
      [`/file ${files.write("empty.txt", "")}`, "empty.txt: it is empty"],
      [`/file ${text} ${picture}`, "notes.txt: only pictures can be sent together"],
    ];
    for (const [line, why] of cases) expect(await sandbox.type(line, /\n/)).toContain(why);
    await sandbox.type("/group", /in the group/);
    expect(await sandbox.type(`/file ${text}`, /\(/)).toContain("in groups DingTalk delivers only text and pictures");
    expect(await sandbox.type(`/file ${picture}`, /robot[^\n]*\[image/)).toContain("image/png");
    await sandbox.type("/direct", /alone/);
  });
});

describe("what the robot shows", () => {
  it("is a message with buttons", async () => {
    const said = await sandbox.type("按钮", /action card[\s\S]*钉钉 \]/);
    expect(said).toContain("[ 钉钉开放平台 ] https://open.dingtalk.com");
  });

  it("is a card, whose control can be pressed and quoted", async () => {
    const card = await sandbox.type("card", /\[ reject \]/);
    expect(card).toContain("robot  > [card Leave request: 3 days]\n           title: Leave request");
    const pressed = await sandbox.type("/press approve", /按下/);
    expect(pressed).toContain("robot  > [card changed] status: approved");
    expect(pressed).toContain("收到:staff001 按下 approve");
    // DingTalk names a card by its id alone: the bridge knows what it said.
    await sandbox.type("卡片", /\[ reject \]/);
    expect(await sandbox.type("/quote 这个", /收到/)).toMatch(/收到:这个\n {9}\(回复「请假申请 李四 待审批」\)/);
    expect(await sandbox.type("/press", /which control/)).not.toContain("收到");
  });

  it("is a card that fills up, of which a pipe sees the beginning and the end", async () => {
    const said = await sandbox.type("流式", /card, finished[\s\S]*完成/);
    expect(said.match(/\[card, growing\]/g)).toHaveLength(1);
    expect(said).toContain("| `POST /v1/streams` | 开始 |");
    expect(said).toContain("```js");
    expect(said).not.toContain("\u001b");
  });

  it("is ended by the stop word", async () => {
    await sandbox.type("stream", /\[card, growing\]/);
    const said = await sandbox.type("/stop", /card, finished[\s\S]*已停止/);
    expect(said).not.toContain("Done.");
  });

  it("is a message that is taken back", async () => {
    const said = await sandbox.type("撤回", /已撤回/);
    expect(said).toMatch(/\[image recall\.png 69 B\]\nrobot {2}> \(message taken back: \[image recall\.png 69 B\]\)/);
  });

  it("is a reaction while there is nothing else to be seen", async () => {
    const said = await sandbox.type("think", /Done:/);
    expect(said).toMatch(
      /\(reaction 🤔思考中 attached to your message\)\nrobot {2}> (?:\(reaction 🤔思考中 taken back\)|Done)/,
    );
  });
});

describe("the sandbox", () => {
  it("lets the gateway fail, and shows the answer that came late", async () => {
    await sandbox.type(":gateway failing", /^/);
    expect(await sandbox.type(":gateway loud", /modes/)).toContain("demo, echo, slow, failing, held, silent");
    await sandbox.type("später", /^/);
    expect(await sandbox.type(":gateway demo", /收到/)).toContain("收到:später");
  });

  it("ends with :quit", async () => {
    expect(await sandbox.end(":quit")).toBe(0);
    expect(sandbox.rest).toBe("");
  });
});

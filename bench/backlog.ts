import { createMetrics } from "../src/ops/metrics.ts";
import { SqliteStore } from "../src/queue/sqlite-store.ts";
import { conversationLane } from "../src/queue/store.ts";

const BATCH = 5_000;

/** Writes so many messages into the inbox of account `main`, as if they had come while the gateway was away. */
export async function writeBacklog(dataDir: string, options: { entries: number; lanes: number }): Promise<void> {
  const store = new SqliteStore({ directory: dataDir, metrics: createMetrics() });
  const now = Date.now() - 60_000;
  for (let done = 0; done < options.entries; done += BATCH) {
    // All of a batch in one turn of the event loop: they share a commit.
    await Promise.all(
      Array.from({ length: Math.min(BATCH, options.entries - done) }, (_, index) => {
        const n = done + index;
        const lane = n % options.lanes;
        const conversationId = `cidbacklog${lane}==`;
        return store.append(
          {
            queue: "inbox",
            id: `main:msgbacklog${n}`,
            key: `dingbench0000000000:msgbacklog${n}`,
            account: "main",
            lane: conversationLane("main", conversationId),
            kind: "message",
            body: { data: pushed(n, conversationId), receivedAt: now },
            createdAt: now,
            sender: `staff${lane}`,
          },
          {
            account: "main",
            id: conversationId,
            kind: "direct",
            title: undefined,
            staffId: `staff${lane}`,
            webhook: undefined,
            lastSeen: now,
          },
        );
      }),
    );
  }
  await store.close();
}

/** The body of a robot message (dingtalk-protocol.md §2.3) without its webhook. */
function pushed(n: number, conversationId: string): Record<string, unknown> {
  return {
    msgId: `msgbacklog${n}`,
    msgtype: "text",
    text: { content: ` 这是第 ${n} 条消息,请帮我看一下今天的安排。` },
    conversationId,
    conversationType: "1",
    senderId: `$:LWCP_v1:$sender${n}`,
    senderStaffId: "staff001",
    senderNick: "张三",
    createAt: Date.now(),
    robotCode: "dingbench0000000000",
    chatbotUserId: "$:LWCP_v1:$robot",
  };
}

import { type Config, storedQuota } from "../app.ts";
import { BUDGETS, type Ladder, limitsOf, monthAt } from "../domain/quota.ts";
import {
  type BudgetReport,
  type OrganisationReport,
  type QuotaReport,
  type WhatIf,
  comparedPlans,
  mostReplies,
  whatIf,
} from "../domain/quota-report.ts";
import { BridgeApi, type Caller } from "./bridge.ts";
import { type CliCommand, CommandError, EXIT } from "./command.ts";
import { type SettingsOptions, addSettingsOptions, loadSettings } from "./settings.ts";
import { reading } from "./store.ts";

export const quotaCommand: CliCommand<SettingsOptions & { json?: boolean }> = {
  name: "quota",
  summary: "the month's use of DingTalk's budgets, and what-if",
  description:
    "Shows what was spent of the month's Open API calls and Webhook & Stream units, by class, where it leads, and what other plans or numbers of replies would come to. Asks the running bridge, else reads its data directory.",
  examples: [
    ["dingtalk-bridge quota", "tables for people"],
    ["dingtalk-bridge quota --json", "the same for programs"],
  ],
  configure(command) {
    addSettingsOptions(command);
    command.option("--json", "for programs");
  },
  async run({ context, options }) {
    const { config } = loadSettings(context, options);
    context.stdout.write(
      await quotaLines(config, { json: options.json ?? false, now: Date.now(), signal: context.signal }),
    );
    return EXIT.ok;
  },
};

/** What `dingtalk-bridge quota --json` prints. */
export interface QuotaAnswer {
  /** A running bridge, or the data directory while none answers. */
  source: "bridge" | "store";
  from: string;
  /** Null when nothing was ever counted there. */
  report: QuotaReport | null;
  whatIf: WhatIf[];
}

const REPLIES_PER_DAY = [20, 50, 100, 200, 500, 1_000];
const DAY_MS = 86_400_000;
const ANSWER_WITHIN_MS = 3_000;

/**
 * `dingtalk-bridge quota`: the month's use by class, where it leads, and what other plans or numbers of replies would come to. Asks
 * the running bridge, else reads its store without changing anything. Throws BridgeError `data_dir_unusable`.
 */
export async function quotaLines(
  config: Config,
  options: { json: boolean; now: number; signal?: AbortSignal },
): Promise<string> {
  const { signal = new AbortController().signal } = options;
  const answer = await quotaAnswer(config, options.now, signal);
  return options.json ? `${JSON.stringify(answer, null, 2)}\n` : textOf(answer, config, options.now);
}

async function quotaAnswer(config: Config, now: number, signal: AbortSignal): Promise<QuotaAnswer> {
  const { start, end } = monthAt(now);
  const days = Math.round((end - start) / DAY_MS);
  const plans = comparedPlans(config.quota.plan, limitsOf(config.quota));
  const table = plans.flatMap((plan) =>
    REPLIES_PER_DAY.map((repliesPerDay) => whatIf({ ...plan, repliesPerDay, days })),
  );
  const api = new BridgeApi(config, signal);
  const live = await askBridge(api);
  if (live) return { source: "bridge", from: api.url, report: live, whatIf: table };
  const stored = reading(config.dataDir, () => storedQuota(config, now));
  return { source: "store", from: config.dataDir, report: stored ?? null, whatIf: table };
}

/** Undefined when no bridge of this configuration answers. A derived token shows its own account only, so each is asked. */
async function askBridge(api: BridgeApi): Promise<QuotaReport | undefined> {
  let merged: QuotaReport | undefined;
  for (const caller of api.callers()) {
    const report = await fetchReport(api, caller);
    if (!report) return undefined;
    if (merged) merged.organisations = mergeOrganisations([...merged.organisations, ...report.organisations]);
    else merged = report;
  }
  return merged;
}

async function fetchReport(api: BridgeApi, caller: Caller): Promise<QuotaReport | undefined> {
  try {
    const { status, body } = await api.call("/v1/status", caller, { withinMs: ANSWER_WITHIN_MS });
    const { quota } = (body ?? {}) as { quota?: QuotaReport };
    return status === 200 && Array.isArray(quota?.organisations) ? quota : undefined;
  } catch (error) {
    // Nobody there, or something else: the store tells what there is.
    if (error instanceof CommandError) return undefined;
    throw error;
  }
}

function mergeOrganisations(reports: OrganisationReport[]): OrganisationReport[] {
  const merged: OrganisationReport[] = [];
  for (const report of reports) {
    const same = merged.find(({ organisation }) => organisation !== null && organisation === report.organisation);
    if (same) same.accounts = [...new Set([...same.accounts, ...report.accounts])];
    else merged.push(report);
  }
  return merged;
}

const NAMES = { calls: "Open API calls", units: "Webhook & Stream units" } as const;
const LADDER: Record<Ladder, string> = {
  0: "live cards as configured",
  1: "live cards change more rarely: calls run ahead of the calendar",
  2: "answers as Markdown, no live cards: calls run ahead of the calendar",
  3: "answers as Markdown, no live cards, no thinking indicator: calls run ahead of the calendar",
};

function textOf({ source, from, report, whatIf: rows }: QuotaAnswer, config: Config, now: number): string {
  const where = source === "bridge" ? `the bridge at ${from}` : `${from} (no bridge answers)`;
  const head = report
    ? [
        `Quota of ${report.month} (plan ${report.plan}), from ${where}`,
        `A new month begins at 00:00 Asia/Shanghai: ${report.endsAt}.`,
        `These numbers are ${report.note}.`,
        ...report.organisations.flatMap(organisationText),
      ]
    : [`Nothing was counted yet in ${where}.`];
  return [...head, "", ...whatIfText(rows, config, now), ""].join("\n");
}

function organisationText(report: OrganisationReport): string[] {
  const { organisation, accounts, ladder } = report;
  return [
    "",
    `Organisation ${organisation ?? "not known before the first message"} (${accounts.join(", ")})`,
    row("", ["used", "of", "%", "projected"]),
    ...BUDGETS.flatMap((budget) => budgetText(NAMES[budget], report[budget])),
    `  ${LADDER[ladder]}`,
  ];
}

function budgetText(name: string, { used, limit, percent, projected, closed, byClass }: BudgetReport): string[] {
  const classes = Object.entries(byClass).toSorted(([a], [b]) => a.localeCompare(b));
  return [
    row(`  ${name}`, [number(used), number(limit), String(percent), projected === null ? "?" : number(projected)]),
    ...classes.map(([label, n]) => row(`    ${label}`, [number(n)])),
    ...(closed
      ? [`    REFUSED by DingTalk since ${closed.since}, tried again after ${closed.probeAfter}: ${closed.detail}`]
      : []),
  ];
}

function whatIfText(rows: WhatIf[], config: Config, now: number): string[] {
  const { start, end } = monthAt(now);
  const days = Math.round((end - start) / DAY_MS);
  const plans = comparedPlans(config.quota.plan, limitsOf(config.quota));
  const fits = (yes: boolean): string => (yes ? "fits" : "too much");
  return [
    `What if: replies a day, each of one part, over ${days} days (the message that asks costs a unit too)`,
    row("  plan, replies a day", ["by webhook", "", "by Open API", "", "mixed"]),
    ...rows.map(({ plan, repliesPerDay, webhook, api, fits: fit }) =>
      row(`  ${plan} ${number(repliesPerDay)}`, [
        `${number(webhook.units)} units`,
        fits(fit.webhook),
        `${number(api.calls)} calls`,
        fits(fit.api),
        fits(fit.mixed),
      ]),
    ),
    ...plans.map(({ plan, limits }) => `  ${plan} carries at most ${number(mostReplies(limits, days))} replies a day.`),
    "  Answers in several parts, live cards and files cost more.",
  ];
}

const number = (n: number): string => n.toLocaleString("en-US");

const row = (label: string, cells: string[]): string =>
  `${label.padEnd(30)}${cells.map((cell) => cell.padStart(15)).join("")}`.trimEnd();

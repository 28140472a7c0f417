import { expect, it } from "vitest";
import { loadConfig } from "../../src/config.ts";
import { CREDENTIALS } from "../config/support.ts";
import { read } from "./files.ts";

const unit = read("deploy/systemd/dingtalk-bridge.service");
const all = (name: string): string[] =>
  [...unit.matchAll(new RegExp(`^${name}=(.*)$`, "gm"))].map(([, value = ""]) => value);
const { config } = loadConfig({ env: CREDENTIALS, homeDir: "/nowhere" });

it("stays down after an end that a restart does not mend, and restarts after every other failure", () => {
  expect(all("Restart")).toEqual(["on-failure"]);
  expect(all("RestartPreventExitStatus")).toEqual(["78 64"]);
});

it("waits longer for the end than the bridge takes", () => {
  expect(Number(all("TimeoutStopSec")[0]) * 1_000).toBeGreaterThan(config.shutdown.deadlineMs);
});

it("hands over the secret as a credential, and the data directory by its variable", () => {
  const [credential = ""] = all("LoadCredential");
  const [name] = credential.split(":");
  // %d would need systemd 250.
  expect(all("Environment")).toContain(`DINGTALK_APP_SECRET_FILE=/run/credentials/%n/${name}`);
  expect(all("SetCredential")).toEqual([`${name}:your-app-secret`]);
  expect(all("Environment").join(" ")).toContain(`BRIDGE_DATA_DIR=%S/${all("StateDirectory")[0]}`);
});

it("runs without rights", () => {
  for (const name of [
    "NoNewPrivileges",
    "DynamicUser",
    "PrivateTmp",
    "PrivateDevices",
    "ProtectHome",
    "RestrictSUIDSGID",
  ])
    expect([name, ...all(name)]).toEqual([name, "yes"]);
  expect(all("ProtectSystem")).toEqual(["strict"]);
  expect([...all("CapabilityBoundingSet"), ...all("AmbientCapabilities")]).toEqual(["", ""]);
  expect(all("SystemCallFilter")).toEqual(["@system-service", "~@privileged @resources"]);
  // Node.js compiles to memory: with it the process dies at its start.
  expect(all("MemoryDenyWriteExecute")).toEqual([]);
});

type Commands = Record<string, (...args: never[]) => unknown>;
type Makers = Record<string, (options: never) => Commands | Promise<Commands>>;

interface Call {
  id: number;
  name: string;
  args: never[];
}

/**
 * Serves the calls of a Peer (peers.ts) in its process: the first, `start`, makes the party that the first argument of the
 * command line names, the others go to it.
 */
export function servePeer(makers: Makers): void {
  const make = makers[process.argv[2] ?? ""];
  if (!make) throw new Error(`one of ${Object.keys(makers).join(", ")} is needed`);
  let commands: Commands = {
    start: async (options: never) => {
      commands = await make(options);
    },
  };
  const serve = async ({ id, name, args }: Call): Promise<void> => {
    try {
      const command = commands[name];
      if (!command) throw new Error(`no such call: ${name}`);
      const result = await command(...args);
      process.send?.({ id, result });
    } catch (error) {
      process.send?.({ id, error: String(error) });
    }
  };
  process.on("message", (call: Call) => void serve(call));
  // The parent is gone: nobody would ever end this process.
  process.on("disconnect", () => process.exit());
}

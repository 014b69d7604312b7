/** The client: placeholder until runCli lands. */
export function main(args: string[]): void {
  process.stderr.write(`coracle: no client in this build (${args.length} arguments)\n`);
  process.exitCode = 125;
}

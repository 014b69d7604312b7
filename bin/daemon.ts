export function main(args: string[]): void {
  process.stderr.write(`coracled: no daemon in this build (${args.length} arguments)\n`);
  process.exitCode = 1;
}

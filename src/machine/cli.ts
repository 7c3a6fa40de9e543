export async function runMachineCommand(): Promise<number> {
  return 0
}

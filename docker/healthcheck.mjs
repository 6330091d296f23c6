// Exit status 0 when the server answers at /health: MYELIN_HEALTH_URL, else port SYNAPSE_HTTP_PORT or 8008 of this machine.
const url = process.env.MYELIN_HEALTH_URL ?? `http://localhost:${process.env.SYNAPSE_HTTP_PORT ?? 8008}/health`;
try {
  const { ok, status } = await fetch(url, { signal: AbortSignal.timeout(4_000) });
  if (!ok) throw new Error(`status ${status}`);
} catch (error) {
  process.stderr.write(`${url}: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

import { close, open, writeFile, writev } from "node:fs";

/** Writes a file that must not be there yet, as one piece. @throws EEXIST, ENOENT and others of the file system, and then it may be there in part */
export function writeNewFile(path: string, chunks: readonly Buffer[]): Promise<void> {
  // Not by promises: each of their steps costs as much as the system call.
  return new Promise((resolve, reject) => {
    open(path, "wx", (error, fd) => {
      if (error !== null) return reject(error);
      const end = (failure: Error | null): void => close(fd, (error) => (failure === null && !error ? resolve() : reject((failure ?? error) as Error)));
      const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      if (bytes === 0) return end(null);
      writev(fd, chunks, (failure, written) => {
        if (failure !== null || written === bytes) end(failure);
        // A disk that fills up takes a part; the rest says why.
        else writeFile(fd, Buffer.concat(chunks).subarray(written), end);
      });
    });
  });
}

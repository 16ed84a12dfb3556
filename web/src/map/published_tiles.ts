// Tiles in one file: by parts where the web space knows range requests, else the file as a whole.

import type { RequestParameters } from "maplibre-gl";
import { PMTiles, Protocol, type RangeResponse, type Source } from "pmtiles";

class FileSource implements Source {
  private whole: Promise<ArrayBuffer> | null = null;

  constructor(private readonly url: string) {}

  getKey(): string {
    return this.url;
  }

  async getBytes(offset: number, length: number): Promise<RangeResponse> {
    if (!this.whole) {
      const answer = await fetch(this.url, { headers: { Range: `bytes=${offset}-${offset + length - 1}` } });
      if (answer.status === 206) return { data: await answer.arrayBuffer() };
      if (!answer.ok) throw new Error(`${this.url}: ${answer.status}`);
      // Somebody else may have asked meanwhile.
      this.whole ??= answer.arrayBuffer();
    }
    const all = await this.whole;
    return { data: all.slice(offset, offset + length) };
  }
}

const protocol = new Protocol();

export function tileProtocol(
  asked: RequestParameters,
  abort: AbortController,
): Promise<{ data: never }> {
  const url = asked.url.replace(/^pmtiles:\/\//, "").replace(/\/\d+\/\d+\/\d+$/, "");
  if (!protocol.get(url)) protocol.add(new PMTiles(new FileSource(url)));
  return protocol.tile(asked as never, abort) as Promise<{ data: never }>;
}

// What a file is called that the service sends.

/** The name in a `Content-Disposition`; of two, the one that may hold any letter (RFC 6266). */
export function fileName(disposition: string): string | undefined {
  const coded = /filename\*=utf-8'[^']*'([^;\s]+)/i.exec(disposition)?.[1];
  try {
    if (coded) return decodeURIComponent(coded);
  } catch {
    // Not coded as it says.
  }
  return /filename="?([^";]+)/i.exec(disposition)?.[1];
}

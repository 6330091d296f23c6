import type { ConfigReader } from "../reader.ts";

/** Transports that MatrixRTC clients are told of (`matrix_rtc`, MSC4143). */
export type MatrixRtcConfig = ReturnType<typeof parseMatrixRtc>;

export function parseMatrixRtc(root: ConfigReader) {
  const raw = root.object("matrix_rtc");
  return {
    /** As they are sent to clients. */
    transports: raw.objects("transports").map((reader) => {
      const type = reader.requiredString("type");
      const url = reader.string("livekit_service_url");
      if (type === "livekit" && !url) throw reader.wrong("livekit_service_url", "a URL, since the type is livekit");
      return reader.everything();
    }),
  };
}

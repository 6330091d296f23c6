import { missingParam } from "../../protocol/errors.ts";
import { sendToDevices } from "../../services/devices/to-device.ts";
import { endpoint } from "../http/endpoint.ts";

export const putSendToDevice = endpoint({
  servlet: "SendToDeviceRestServlet",
  method: "PUT",
  path: "/_matrix/client/(r0|v3|unstable)/sendToDevice/:messageType/:txnId",
  auth: "guest",
  lossless: true,
  async handle(ctx, { requester, params, body }) {
    const path = `sendToDevice/${params.messageType}/${params.txnId}`;
    return await ctx.requestTransactions.once(requester, path, async () => {
      if (body.messages === undefined) throw missingParam("Missing params: ['messages']");
      await sendToDevices(ctx, requester, params.messageType, body.messages);
      return {};
    });
  },
});

export const sendToDeviceRoutes = [putSendToDevice];
